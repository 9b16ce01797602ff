//! Time limits.

use core::marker::PhantomData;
use core::time::Duration;

use vfio_core::device::DeviceHandle;
use vfio_core::sys::Sys as _;
use vfio_drivers::virtio::VirtioError;

use crate::Outcome;
use crate::report::same;

/// A time limit, in a trial that fails with `E`.
pub(crate) struct Clock<'d, D, E> {
    device: &'d D,
    deadline: Duration,
    error: PhantomData<fn() -> E>,
}

impl<'d, D: DeviceHandle, E> Clock<'d, D, E> {
    /// Begins a time that lasts no longer than `limit`.
    pub(crate) fn new(device: &'d D, limit: Duration) -> Result<Self, Outcome<VirtioError<E>>> {
        let mut clock = Self {
            device,
            deadline: limit,
            error: PhantomData,
        };
        clock.deadline = clock.now()?.saturating_add(limit);
        Ok(clock)
    }

    /// Tells whether the time is over.
    pub(crate) fn is_over(&self) -> Result<bool, Outcome<VirtioError<E>>> {
        Ok(self.now()? > self.deadline)
    }

    /// Fails once the time is over.
    pub(crate) fn tick(&self) -> Result<(), Outcome<VirtioError<E>>> {
        same(false, self.is_over()?)
    }

    fn now(&self) -> Result<Duration, Outcome<VirtioError<E>>> {
        let now = self.device.sys().now();
        now.map_err(|errno| Outcome::Device(VirtioError::Clock(errno)))
    }
}
