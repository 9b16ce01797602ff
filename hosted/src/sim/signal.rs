//! What interrupts are counted in.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use vfio_core::sys::{Errno, Sys as _};

use crate::linux::Linux;
use crate::lock::lock;

/// What wakes the threads that wait for events, whichever these are.
#[derive(Default)]
pub(in crate::sim) struct Bell {
    waiting: Mutex<()>,
    rung: Condvar,
}

/// An eventfd of the real kernel's, of which this one's threads hear.
pub(in crate::sim) struct Counter {
    eventfd: OwnedFd,
    bell: Arc<Bell>,
}

/// An interrupt's counter, seen from the device: it lives on when the driver drops its event.
pub(in crate::sim) type Signal = Arc<Counter>;

impl Bell {
    /// Wakes who waits.
    fn ring(&self) {
        // Whoever has looked and not yet begun to wait has the lock.
        let _waiting = lock(&self.waiting);
        self.rung.notify_all();
    }

    /// Waits until `is_there`, which is looked at whenever the bell rings, and for no longer than
    /// `limit`; tells whether it is.
    pub(in crate::sim) fn wait(&self, limit: Duration, is_there: impl Fn() -> bool) -> bool {
        let waiting = lock(&self.waiting);
        let waited = self
            .rung
            .wait_timeout_while(waiting, limit, |()| !is_there());
        drop(waited);
        is_there()
    }
}

impl Counter {
    pub(in crate::sim) fn new(bell: &Arc<Bell>) -> Result<Self, Errno> {
        Ok(Self {
            eventfd: Linux.event()?,
            bell: Arc::clone(bell),
        })
    }

    /// Counts one more.
    pub(in crate::sim) fn signal(&self) {
        // An eventfd of one's own is always written.
        let _ = Linux.event_signal(&self.eventfd);
        self.bell.ring();
    }

    /// Takes what was counted.
    pub(in crate::sim) fn take(&self) -> u64 {
        Linux.event_take(&self.eventfd).unwrap_or(0)
    }

    pub(in crate::sim) fn is_signalled(&self) -> bool {
        let waited = Linux.events_wait(&[&self.eventfd], Duration::ZERO);
        waited.unwrap_or(false)
    }
}

impl AsFd for Counter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counter").field(&self.eventfd).finish()
    }
}
