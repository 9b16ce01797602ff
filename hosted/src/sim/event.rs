//! What interrupts are counted in.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vfio_core::sys::{Errno, Sys as _};

use super::kernel::Shared;
use crate::linux::Linux;

/// What wakes the threads that wait for events, whichever these are.
#[derive(Default)]
pub(super) struct Bell {
    waiting: Mutex<()>,
    rung: Condvar,
}

/// An eventfd of the real kernel's, of which this one's threads hear.
pub(super) struct Counter {
    eventfd: OwnedFd,
    bell: Arc<Bell>,
}

/// An interrupt's counter, seen from the device: it lives on when the driver drops its event.
pub(super) type Signal = Arc<Counter>;

/// An event of a [`Kernel`](super::Kernel); dropping it closes it. What signals it keeps doing so, to nobody.
///
/// It is an eventfd, for a loop of the caller's own. While the loop waits, the kernel does not know
/// that anybody does, and no [time](super::Registers#time) passes for the devices: one that needs
/// time for its work gets on when the clock is looked at.
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
    pub(super) fn new(bell: &Arc<Bell>) -> Result<Self, Errno> {
        Ok(Self {
            eventfd: Linux.event()?,
            bell: Arc::clone(bell),
        })
    }

    /// Counts one more.
    pub(super) fn signal(&self) {
        // An eventfd of one's own is always written.
        let _ = Linux.event_signal(&self.eventfd);
        self.bell.ring();
    }

    /// Takes what was counted.
    pub(super) fn take(&self) -> u64 {
        Linux.event_take(&self.eventfd).unwrap_or(0)
    }

    pub(super) fn is_signalled(&self) -> bool {
        let waited = Linux.events_wait(&[&self.eventfd], Duration::ZERO);
        waited.unwrap_or(false)
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counter").field(&self.eventfd).finish()
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signal.eventfd.as_fd()
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
