//! What interrupts are counted in.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::kernel::Shared;

/// What wakes the threads that wait for events, whichever these are.
#[derive(Default)]
pub(super) struct Bell {
    waiting: Mutex<()>,
    rung: Condvar,
}

/// A counter that a thread can wait for, as an eventfd is.
pub(super) struct Counter {
    count: AtomicU64,
    bell: Arc<Bell>,
}

/// An interrupt's counter, seen from the device: it lives on when the driver drops its event.
pub(super) type Signal = Arc<Counter>;

/// An event of a [`Kernel`](super::Kernel); dropping it closes it. What signals it keeps doing so, to nobody.
pub struct Event {
    pub(super) kernel: Arc<Shared>,
    pub(super) signal: Signal,
}

impl Bell {
    fn waiting(&self) -> MutexGuard<'_, ()> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes who waits.
    fn ring(&self) {
        // Whoever has looked and not yet begun to wait has the lock.
        let _waiting = self.waiting();
        self.rung.notify_all();
    }

    /// Waits until `is_there`, which is looked at whenever the bell rings, and for no longer than
    /// `limit`; tells whether it is.
    pub(super) fn wait(&self, limit: Duration, is_there: impl Fn() -> bool) -> bool {
        let waiting = self.waiting();
        let waited = self
            .rung
            .wait_timeout_while(waiting, limit, |()| !is_there());
        drop(waited);
        is_there()
    }
}

impl Counter {
    pub(super) fn new(bell: &Arc<Bell>) -> Self {
        Self {
            count: AtomicU64::new(0),
            bell: Arc::clone(bell),
        }
    }

    /// Counts one more.
    pub(super) fn signal(&self) {
        // The largest number is never reached (eventfd(2)).
        let more = |count: u64| Some(count.saturating_add(1).min(u64::MAX.wrapping_sub(1)));
        let _ = self
            .count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        self.bell.ring();
    }

    /// Takes what was counted.
    pub(super) fn take(&self) -> u64 {
        self.count.swap(0, Ordering::AcqRel)
    }

    pub(super) fn is_signalled(&self) -> bool {
        self.count.load(Ordering::Acquire) != 0
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counter").field(&self.count).finish()
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        self.kernel.count(|calls| &mut calls.close);
        self.kernel.events.fetch_sub(1, Ordering::AcqRel);
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("counter", &self.signal)
            .finish_non_exhaustive()
    }
}
