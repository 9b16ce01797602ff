//! Time: the time stamp counter and the local APIC's timer.
//!
//! How fast the first counts is told by the processor, by the hypervisor, or by its paravirtual
//! clock; where nobody tells, it is measured against the old interval timer or the real-time clock.
//! The APIC's timer is measured against it.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use spin::Mutex;
use x86_64::instructions::interrupts as flag;
use x86_64::registers::model_specific::Msr;

use crate::apic::{self, ApicError};
use crate::frequency::{self, FRACTION, Leaf, MeasureError};
use crate::paging::address_of;
use crate::{interrupts, port};

/// Why time can't be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ClockError {
    /// Interrupts can't be had.
    Apic(ApicError),
    /// Nobody tells how fast the time stamp counter counts: neither CPUID nor a paravirtual clock,
    /// and the machine has neither an interval timer nor a real-time clock.
    NoSource,
    /// The machine's timers can't be compared: the processor is held back all the time.
    Unsteady,
    /// The time stamp counter stands still, or the APIC's timer does.
    Stopped,
}

/// A timer of the machine's that the time stamp counter is measured against.
struct Timer {
    /// Ticks in a second.
    hertz: u64,
    /// Over how many of them is measured.
    ticks: u32,
    /// The bits that it has.
    mask: u32,
}

/// Channel 0 of the interval timer (Intel 8254), over 1 ms.
const INTERVAL: Timer = Timer {
    hertz: 1_193_182,
    ticks: 1193,
    mask: 0xffff,
};
/// The periodic flag of the real-time clock (Motorola MC146818), over 8 ms.
const REAL_TIME: Timer = Timer {
    hertz: 1024,
    ticks: 8,
    mask: u32::MAX,
};
/// Ticks of the APIC's timer over which that is measured.
const APIC_TICKS: u32 = 8192;

/// Channel 0 of the interval timer, and how it is told what to do.
const CHANNEL: u16 = 0x40;
const CONTROL: u16 = 0x43;
/// The real-time clock: which register, and its value.
const CMOS: u16 = 0x70;
const CMOS_DATA: u16 = 0x71;
/// Its registers: the rate; what is enabled; the flags, which a read clears.
const RATE: u8 = 0xa;
const ENABLES: u8 = 0xb;
const FLAGS: u8 = 0xc;
/// In the rate: 32,768 a second, by 32. In the other two: a period passed.
const BY_32: u8 = 0x26;
const PERIODIC: u8 = 1 << 6;
/// In what is enabled: hours are counted to 24, as they are by all firmware.
const HOURS_24: u8 = 1 << 1;

/// The APIC timer's ticks in a millisecond, once they were counted.
static PER_MILLISECOND: AtomicU32 = AtomicU32::new(0);
/// The time stamp counter's, once they are known.
static STAMPS_PER_MILLISECOND: AtomicU64 = AtomicU64::new(0);
/// Who uses the timer.
static TIMER: Mutex<()> = Mutex::new(());

/// What KVM's paravirtual clock writes (Linux 6.12, Documentation/virt/kvm/x86/msr.rst): the last
/// 8 bytes begin with the factor and the shift.
#[repr(C, align(32))]
struct TimeInfo([AtomicU64; 4]);

static TIME_INFO: TimeInfo = TimeInfo([const { AtomicU64::new(0) }; 4]);

/// Returns the time since the processor was started.
///
/// # Errors
/// [`ClockError`]
pub fn now() -> Result<Duration, ClockError> {
    let per_millisecond = stamps_per_millisecond()?;
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

/// Returns the time stamp counter. A QEMU that counts instructions (`-icount shift=0`) counts it by
/// them.
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
    // What has come needs no clock.
    if is_there() {
        return Ok(true);
    }
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

/// Waits for `time`.
///
/// # Errors
/// [`ClockError`]
pub fn sleep(time: Duration) -> Result<(), ClockError> {
    wait(time, || false).map(drop)
}

/// Returns the APIC timer's ticks in a millisecond. They are counted once.
fn calibrate() -> Result<u32, ClockError> {
    let known = PER_MILLISECOND.load(Ordering::Relaxed);
    if known != 0 {
        return Ok(known);
    }
    let stamps_per_millisecond = stamps_per_millisecond()?;
    apic::start().map_err(ClockError::Apic)?;
    apic::start_silent_timer();
    let count = || u32::MAX.wrapping_sub(apic::timer_left());
    let measured = frequency::measure(APIC_TICKS, u32::MAX, &stamp, &count);
    apic::start_timer(0);
    let stamps_per_tick = measured.map_err(|error| match error {
        MeasureError::Stopped => ClockError::Stopped,
        MeasureError::Unsteady => ClockError::Unsteady,
    })?;
    let per_millisecond = (stamps_per_millisecond << FRACTION).checked_div(stamps_per_tick);
    let per_millisecond = u32::try_from(per_millisecond.unwrap_or(0)).unwrap_or(u32::MAX);
    if per_millisecond == 0 {
        return Err(ClockError::Stopped);
    }
    PER_MILLISECOND.store(per_millisecond, Ordering::Relaxed);
    Ok(per_millisecond)
}

/// Returns the time stamp counter's ticks in a millisecond, which are asked for or counted once.
fn stamps_per_millisecond() -> Result<u64, ClockError> {
    let known = STAMPS_PER_MILLISECOND.load(Ordering::Relaxed);
    if known != 0 {
        return Ok(known);
    }
    let stamps = match frequency::told(&cpuid).or_else(paravirtual) {
        Some(stamps) => stamps,
        None => measured()?,
    };
    STAMPS_PER_MILLISECOND.store(stamps, Ordering::Relaxed);
    Ok(stamps)
}

fn cpuid(number: u32) -> Leaf {
    let leaf = core::arch::x86_64::__cpuid(number);
    [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx]
}

/// Returns the frequency in kHz that the paravirtual clock tells.
fn paravirtual() -> Option<u64> {
    let mut clock = Msr::new(frequency::paravirtual(&cpuid)?);
    let TimeInfo([.., scale]) = &TIME_INFO;
    // SAFETY: KVM has the register, and writes to the 32 bytes at that address, which are atomics
    // and stay where they are. Bit 0 turns it on.
    unsafe { clock.write(address_of(&raw const TIME_INFO) | 1) };
    // It has written before the next instruction.
    let [a, b, c, d, shift, ..] = scale.load(Ordering::Acquire).to_le_bytes();
    // SAFETY: this turns it off.
    unsafe { clock.write(0) };
    frequency::scaled(u32::from_le_bytes([a, b, c, d]), i8::from_le_bytes([shift]))
}

/// Returns the frequency in kHz, measured against the first timer that counts.
fn measured() -> Result<u64, ClockError> {
    let mut error = ClockError::NoSource;
    let mut against = |timer: &Timer, count: &dyn Fn() -> u32| match frequency::measure(
        timer.ticks,
        timer.mask,
        &stamp,
        count,
    ) {
        Ok(stamps) => Some((stamps.saturating_mul(timer.hertz) >> FRACTION) / 1000),
        Err(MeasureError::Unsteady) => {
            error = ClockError::Unsteady;
            None
        }
        Err(MeasureError::Stopped) => None,
    };
    // Both bytes, mode 2: it counts down from 65536 over and over.
    port::write::<u8>(CONTROL, 0x34);
    port::write::<u8>(CHANNEL, 0);
    port::write::<u8>(CHANNEL, 0);
    let mut khz = against(&INTERVAL, &count);
    if khz.is_none() {
        set_cmos(RATE, BY_32);
        // The flag takes the interrupt, which the silent controllers keep to themselves.
        set_cmos(ENABLES, PERIODIC | HOURS_24);
        let periods = AtomicU32::new(0);
        khz = against(&REAL_TIME, &|| {
            port::write(CMOS, FLAGS);
            // Its lowest bits are 0. Where there is no clock, all are ones.
            let passed = u32::from(port::read::<u8>(CMOS_DATA) & (PERIODIC | 0xf) == PERIODIC);
            periods.fetch_add(passed, Ordering::Relaxed)
        });
        set_cmos(ENABLES, HOURS_24);
    }
    khz.ok_or(error)
}

/// Writes a register of the real-time clock.
fn set_cmos(register: u8, value: u8) {
    port::write(CMOS, register);
    port::write(CMOS_DATA, value);
}

/// Returns how far the interval timer counted.
fn count() -> u32 {
    // Both bytes are kept until they are read.
    port::write::<u8>(CONTROL, 0);
    let low = port::read::<u8>(CHANNEL);
    let high = port::read::<u8>(CHANNEL);
    u32::from(u16::from_le_bytes([low, high])).wrapping_neg()
}
