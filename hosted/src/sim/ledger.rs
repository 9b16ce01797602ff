//! What is counted: calls, and what is open or mapped.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(doc)]
use vfio_core::sys::Sys;

use crate::lock::lock;

/// How many system calls were made, failed ones included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// [`Sys::open`].
    pub open: u64,
    /// Files and events that were closed.
    pub close: u64,
    /// [`Sys::ioctl_info`].
    pub ioctl_info: u64,
    /// [`Sys::ioctl_value`].
    pub ioctl_value: u64,
    /// [`Sys::ioctl_fd`].
    pub ioctl_fd: u64,
    /// [`Sys::ioctl_name`].
    pub ioctl_name: u64,
    /// [`Sys::pread`].
    pub pread: u64,
    /// [`Sys::pwrite`].
    pub pwrite: u64,
    /// [`Sys::exchange`], [`Sys::exchange_open`] and [`Sys::exchange_memory`].
    pub exchange: u64,
    /// [`Sys::read`].
    pub read: u64,
    /// [`Sys::write`].
    pub write: u64,
    /// [`Sys::map`].
    pub map: u64,
    /// Mappings that were taken away.
    pub unmap: u64,
    /// [`Sys::now`].
    pub now: u64,
    /// [`Sys::memory`].
    pub memory: u64,
    /// [`Sys::event`].
    pub event: u64,
    /// [`Sys::event_take`] and [`Sys::events_wait`].
    pub event_read: u64,
    /// [`Sys::event_signal`].
    pub event_write: u64,
}

impl Calls {
    /// Returns all ioctls.
    #[must_use]
    pub const fn ioctl(&self) -> u64 {
        self.ioctl_info
            .saturating_add(self.ioctl_value)
            .saturating_add(self.ioctl_fd)
            .saturating_add(self.ioctl_name)
            .saturating_add(self.exchange)
    }
}

/// Counts for a kernel, kept by whoever holds something of it.
#[derive(Default)]
pub(in crate::sim) struct Ledger {
    calls: Mutex<Calls>,
    events: AtomicUsize,
    mappings: AtomicUsize,
}

impl Ledger {
    pub(in crate::sim) fn calls(&self) -> Calls {
        *lock(&self.calls)
    }

    /// Counts a call of a kind.
    pub(in crate::sim) fn count(&self, kind: impl FnOnce(&mut Calls) -> &mut u64) {
        let mut calls = lock(&self.calls);
        let count = kind(&mut calls);
        *count = count.saturating_add(1);
    }

    /// Returns how many events are open.
    pub(in crate::sim) fn events(&self) -> usize {
        self.events.load(Ordering::Acquire)
    }

    pub(in crate::sim) fn add_event(&self) {
        self.events.fetch_add(1, Ordering::AcqRel);
    }

    pub(in crate::sim) fn remove_event(&self) {
        self.events.fetch_sub(1, Ordering::AcqRel);
    }

    /// Returns how many stretches of regions are mapped.
    pub(in crate::sim) fn mappings(&self) -> usize {
        self.mappings.load(Ordering::Acquire)
    }

    pub(in crate::sim) fn add_mapping(&self) {
        self.mappings.fetch_add(1, Ordering::AcqRel);
    }

    pub(in crate::sim) fn remove_mapping(&self) {
        self.mappings.fetch_sub(1, Ordering::AcqRel);
    }
}
