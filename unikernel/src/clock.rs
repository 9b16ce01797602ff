//! Time: the local APIC's timer and the time stamp counter, whose speeds are measured against the
//! old interval timer, which counts 1,193,182 times a second.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use spin::Mutex;
use x86_64::instructions::interrupts as flag;

use crate::apic::{self, ApicError};
use crate::{interrupts, port};

/// Why time can't be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ClockError {
    /// Interrupts can't be had.
    Apic(ApicError),
    /// The interval timer stands still, or the APIC's does.
    Stopped,
}

/// Channel 0 of the interval timer, and how it is told what to do.
const CHANNEL: u16 = 0x40;
const CONTROL: u16 = 0x43;
/// Its ticks in 5 ms.
const TICKS: u16 = 5966;
/// How often it is read before it is taken to stand still.
const PATIENCE: u32 = 10_000_000;

/// The APIC timer's ticks in a millisecond, once they were counted.
static PER_MILLISECOND: AtomicU32 = AtomicU32::new(0);
/// The time stamp counter's in a millisecond, counted with them.
static STAMPS_PER_MILLISECOND: AtomicU64 = AtomicU64::new(0);
/// Who uses the timer.
static TIMER: Mutex<()> = Mutex::new(());

/// The time since the processor was started.
///
/// # Errors
/// [`ClockError`]
pub fn now() -> Result<Duration, ClockError> {
    if STAMPS_PER_MILLISECOND.load(Ordering::Relaxed) == 0 {
        let _timer = TIMER.lock();
        calibrate()?;
    }
    let per_millisecond = STAMPS_PER_MILLISECOND.load(Ordering::Relaxed);
    let stamp = stamp();
    let millis = stamp.checked_div(per_millisecond);
    let rest = stamp.checked_rem(per_millisecond);
    let (Some(millis), Some(rest)) = (millis, rest) else {
        return Err(ClockError::Stopped);
    };
    let nanos = rest.saturating_mul(1_000_000).checked_div(per_millisecond);
    let nanos = Duration::from_nanos(nanos.unwrap_or(0));
    Ok(Duration::from_millis(millis).saturating_add(nanos))
}

/// The time stamp counter. A QEMU that counts instructions (`-icount shift=0`) counts it by them.
pub fn stamp() -> u64 {
    // SAFETY: every x86-64 processor has it, and reading it changes nothing.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Waits until `is_there`, with the processor halted between interrupts, and for no longer than
/// `timeout`; tells whether it is.
///
/// # Errors
/// [`ClockError`]
pub fn wait(timeout: Duration, is_there: impl Fn() -> bool) -> Result<bool, ClockError> {
    let _timer = TIMER.lock();
    let per_millisecond = calibrate()?;
    let millis = timeout.as_secs().saturating_mul(1000);
    let millis = millis.saturating_add(timeout.subsec_millis().into());
    let mut left = millis.saturating_mul(per_millisecond.into());
    loop {
        let slice = u32::try_from(left).unwrap_or(u32::MAX);
        left = left.saturating_sub(slice.into());
        interrupts::clear_timer();
        apic::start_timer(slice);
        let came = wait_slice(&is_there, slice != 0);
        apic::start_timer(0);
        if came || left == 0 {
            return Ok(came);
        }
    }
}

/// Waits until `is_there` or the timer is at its end.
fn wait_slice(is_there: &impl Fn() -> bool, mut is_running: bool) -> bool {
    loop {
        // An interrupt between the question and the halt would be slept through.
        flag::disable();
        if is_there() {
            flag::enable();
            return true;
        }
        if !is_running {
            flag::enable();
            return false;
        }
        flag::enable_and_hlt();
        is_running = !interrupts::timer_came();
    }
}

/// Waits.
///
/// # Errors
/// [`ClockError`]
pub fn sleep(time: Duration) -> Result<(), ClockError> {
    wait(time, || false).map(drop)
}

/// The APIC timer's ticks in a millisecond; they are counted once.
fn calibrate() -> Result<u32, ClockError> {
    let known = PER_MILLISECOND.load(Ordering::Relaxed);
    if known != 0 {
        return Ok(known);
    }
    apic::start().map_err(ClockError::Apic)?;
    // Channel 0, both bytes, mode 2: it counts down from 65536 over and over.
    port::write::<u8>(CONTROL, 0x34);
    port::write::<u8>(CHANNEL, 0);
    port::write::<u8>(CHANNEL, 0);
    let start = count();
    let first = stamp();
    apic::start_silent_timer();
    let passed = |_| start.wrapping_sub(count()) >= TICKS;
    if !(0..PATIENCE).any(passed) {
        return Err(ClockError::Stopped);
    }
    let ticks = u32::MAX.saturating_sub(apic::timer_left());
    let stamps = stamp().saturating_sub(first);
    let passed = start.wrapping_sub(count()).max(TICKS);
    apic::start_timer(0);
    // Ticks of the interval timer in a millisecond, times ticks of the other in one of them.
    let per_millisecond = u64::from(ticks)
        .wrapping_mul(1193)
        .checked_div(passed.into());
    let per_millisecond = u32::try_from(per_millisecond.unwrap_or(0)).unwrap_or(u32::MAX);
    let stamps = stamps.wrapping_mul(1193).checked_div(passed.into());
    let stamps = stamps.unwrap_or(0);
    if per_millisecond == 0 || stamps == 0 {
        return Err(ClockError::Stopped);
    }
    STAMPS_PER_MILLISECOND.store(stamps, Ordering::Relaxed);
    PER_MILLISECOND.store(per_millisecond, Ordering::Relaxed);
    Ok(per_millisecond)
}

/// The interval timer's count.
fn count() -> u16 {
    // Both bytes are kept until they are read.
    port::write::<u8>(CONTROL, 0);
    let low = port::read::<u8>(CHANNEL);
    let high = port::read::<u8>(CHANNEL);
    u16::from_le_bytes([low, high])
}
