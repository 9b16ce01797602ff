//! Interrupts: messages of devices, counted in events.
//!
//! A handler takes no lock and waits for nothing: it adds one to a counter.

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use spin::{Mutex, MutexGuard};

use crate::apic;

/// The vector of the timer.
pub(crate) const TIMER: u8 = 0x30;
/// The vector of an interrupt that was taken back.
pub(crate) const SPURIOUS: u8 = 0x31;
/// The first vector of devices.
const FIRST: u8 = 0x20;
/// How many vectors all devices have together.
pub const LINES: usize = 16;
/// How many events there can be, and one that is none.
pub const EVENTS: usize = 32;

/// No event.
const NONE: u8 = 0;

/// Which event each vector counts in.
static TARGETS: [AtomicU8; LINES] = [const { AtomicU8::new(NONE) }; LINES];
/// What was counted.
static COUNTS: [AtomicU64; EVENTS] = [const { AtomicU64::new(0) }; EVENTS];
/// Whether the timer came to its end.
static TIMER_CAME: AtomicBool = AtomicBool::new(false);

/// Which vectors and events are taken, as bits. No handler needs it.
static TAKEN: Mutex<Taken> = Mutex::new(Taken {
    lines: 0,
    events: 0,
});

struct Taken {
    lines: u32,
    events: u32,
}

#[inline(never)]
fn taken() -> MutexGuard<'static, Taken> {
    TAKEN.lock()
}

/// Vectors of devices that lie together, given back on drop.
#[derive(Debug)]
pub(crate) struct Lines {
    first: u8,
    count: u8,
}

impl Lines {
    /// Takes `count` vectors, rounded up to a power of two, of which the first is a multiple.
    pub(crate) fn take(count: usize) -> Option<Self> {
        let count = u32::try_from(count.checked_next_power_of_two()?).ok()?;
        let most = u32::try_from(LINES).ok()?;
        let all = u32::MAX.checked_shr(u32::BITS.checked_sub(most)?)?;
        let ones = all.checked_shr(most.checked_sub(count)?)?;
        let mut taken = self::taken();
        let mut first = 0_u32;
        while taken.lines >> first & ones != 0 {
            first = first.saturating_add(count);
            if first >= most {
                return None;
            }
        }
        taken.lines |= ones << first;
        Some(Self {
            first: u8::try_from(first).ok()?,
            count: u8::try_from(count).ok()?,
        })
    }

    /// Returns the vector of the first.
    pub(crate) fn vector(&self) -> u8 {
        FIRST.saturating_add(self.first)
    }

    /// Has the vector `nth` count in an event, or in none.
    pub(crate) fn aim(&self, nth: usize, event: Option<u8>) {
        if nth < usize::from(self.count)
            && let Some(target) = TARGETS.get(usize::from(self.first).saturating_add(nth))
        {
            target.store(event.unwrap_or(NONE), Ordering::Relaxed);
        }
    }

    /// Returns the event that the vector `nth` counts in.
    pub(crate) fn target(&self, nth: usize) -> Option<u8> {
        let target = TARGETS.get(usize::from(self.first).saturating_add(nth))?;
        Some(target.load(Ordering::Relaxed)).filter(|event| *event != NONE)
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        for nth in 0..usize::from(self.count) {
            self.aim(nth, None);
        }
        let count = u32::from(self.count);
        let ones = 1_u32
            .checked_shl(count)
            .map_or(u32::MAX, |bit| bit.wrapping_sub(1));
        taken().lines &= !(ones << self.first);
    }
}

/// Takes an event with nothing in it.
pub(crate) fn take_event() -> Option<u8> {
    let mut taken = self::taken();
    let event = (taken.events | 1 << NONE).trailing_ones();
    let bit = 1_u32.checked_shl(event)?;
    let event = u8::try_from(event).ok()?;
    COUNTS.get(usize::from(event))?.store(0, Ordering::Relaxed);
    taken.events |= bit;
    Some(event)
}

/// Gives an event back; what counted in it counts no more.
pub(crate) fn give_event(event: u8) {
    for target in &TARGETS {
        let _ = target.compare_exchange(event, NONE, Ordering::Relaxed, Ordering::Relaxed);
    }
    if let Some(bit) = 1_u32.checked_shl(event.into()) {
        taken().events &= !bit;
    }
}

/// Counts one more in an event.
pub(crate) fn signal(event: u8) {
    if let Some(count) = COUNTS.get(usize::from(event)) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Takes what was counted in an event.
pub(crate) fn take_count(event: u8) -> u64 {
    let count = COUNTS.get(usize::from(event));
    count.map_or(0, |count| count.swap(0, Ordering::Acquire))
}

/// Tells whether anything was counted in an event.
pub(crate) fn is_signalled(event: u8) -> bool {
    let count = COUNTS.get(usize::from(event));
    count.is_some_and(|count| count.load(Ordering::Acquire) != 0)
}

/// Forgets that the timer came to its end.
pub(crate) fn clear_timer() {
    TIMER_CAME.store(false, Ordering::Relaxed);
}

/// Tells whether the timer came to its end.
pub(crate) fn timer_came() -> bool {
    TIMER_CAME.load(Ordering::Relaxed)
}

/// Handles an interrupt for the stubs, on the stack of interrupts.
pub(crate) extern "C" fn on_interrupt(vector: u8) {
    match vector {
        // It is not in service: nothing is to be ended.
        SPURIOUS => return,
        TIMER => TIMER_CAME.store(true, Ordering::Relaxed),
        _ => {
            let line = vector.checked_sub(FIRST).map(usize::from);
            if let Some(target) = line.and_then(|line| TARGETS.get(line)) {
                signal(target.load(Ordering::Relaxed));
            }
        }
    }
    apic::end_of_interrupt();
}
