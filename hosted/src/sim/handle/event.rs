//! Events, which interrupts are counted in.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use vfio_core::sys::Errno;

use crate::sim::ledger::Ledger;
use crate::sim::signal::Signal;

/// An event of a [`Kernel`](crate::sim::Kernel); dropping it closes it. What signals it keeps doing
/// so, to nobody.
///
/// It is an eventfd, for a loop of the caller's own. While the loop waits, the kernel does not know
/// that anybody does, and no [time](crate::sim#time) passes for the devices: one that needs
/// time for its work gets on when the clock is looked at.
pub struct Event {
    ledger: Arc<Ledger>,
    signal: Signal,
}

impl Event {
    /// Opens an event of the kernel that counts in `ledger`.
    pub(in crate::sim) fn new(ledger: &Arc<Ledger>, signal: Signal) -> Self {
        ledger.add_event();
        Self {
            ledger: Arc::clone(ledger),
            signal,
        }
    }

    pub(in crate::sim) const fn signal(&self) -> &Signal {
        &self.signal
    }

    /// Returns the signal that counts in it. `EBADF` where its kernel does not count in `ledger`.
    pub(in crate::sim) fn signal_in(&self, ledger: &Arc<Ledger>) -> Result<&Signal, Errno> {
        if Arc::ptr_eq(&self.ledger, ledger) {
            Ok(&self.signal)
        } else {
            Err(Errno::EBADF)
        }
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signal.as_fd()
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        self.ledger.count(|calls| &mut calls.close);
        self.ledger.remove_event();
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("counter", &self.signal)
            .finish_non_exhaustive()
    }
}
