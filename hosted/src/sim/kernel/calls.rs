//! How often the kernel was called.

#[cfg(doc)]
use vfio_core::sys::Sys;

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
    /// All ioctls.
    #[must_use]
    pub const fn ioctl(&self) -> u64 {
        self.ioctl_info
            .saturating_add(self.ioctl_value)
            .saturating_add(self.ioctl_fd)
            .saturating_add(self.ioctl_name)
            .saturating_add(self.exchange)
    }
}
