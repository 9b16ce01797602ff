//! What interrupts are counted in.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::kernel::Shared;

/// A counter that a thread can wait for, as an eventfd is.
#[derive(Default)]
pub(super) struct Counter {
    count: Mutex<u64>,
    signalled: Condvar,
}

/// An interrupt's counter, seen from the device: it lives on when the driver drops its event.
pub(super) type Signal = Arc<Counter>;

/// An event of a [`Kernel`](super::Kernel); dropping it closes it. What signals it keeps doing so, to nobody.
pub struct Event {
    pub(super) kernel: Arc<Shared>,
    pub(super) number: i32,
    pub(super) signal: Signal,
}

impl Counter {
    fn count(&self) -> MutexGuard<'_, u64> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more.
    pub(super) fn signal(&self) {
        let mut count = self.count();
        // The largest number is never reached (eventfd(2)).
        *count = count.saturating_add(1).min(u64::MAX.wrapping_sub(1));
        self.signalled.notify_all();
    }

    /// Takes what was counted.
    pub(super) fn take(&self) -> u64 {
        std::mem::take(&mut *self.count())
    }

    pub(super) fn is_signalled(&self) -> bool {
        *self.count() != 0
    }

    /// Waits for no longer than `limit`, and tells whether anything is counted.
    pub(super) fn wait(&self, limit: Duration) -> bool {
        let count = self.count();
        let waited = self
            .signalled
            .wait_timeout_while(count, limit, |count| *count == 0);
        let (count, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *count != 0
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counter").field(&*self.count()).finish()
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        self.kernel.count(|calls| &mut calls.close);
        self.kernel.session().close_event(self.number);
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("number", &self.number)
            .field("counter", &self.signal)
            .finish_non_exhaustive()
    }
}
