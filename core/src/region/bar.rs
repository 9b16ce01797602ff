//! A mapped stretch of a device that is still open.

use crate::device::DeviceHandle;
use crate::mmio::{Access, Origin, Width};
use crate::sys::Sys;

/// A mapped stretch of a region, with a handle to its device.
pub struct Bar<D: DeviceHandle> {
    mapping: <D::Sys as Sys>::Mapping,
    device: D,
}

impl<D: DeviceHandle> Bar<D> {
    /// A mapping of `device`.
    pub(super) const fn new(device: D, mapping: <D::Sys as Sys>::Mapping) -> Self {
        Self { mapping, device }
    }

    /// Returns the handle to the device.
    pub const fn device(&self) -> &D {
        &self.device
    }

    /// What the shim mapped.
    pub(crate) const fn mapping(&self) -> &<D::Sys as Sys>::Mapping {
        &self.mapping
    }
}

impl<D: DeviceHandle> core::fmt::Debug for Bar<D> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.mapping.fmt(f)
    }
}

#[cfg(feature = "defmt")]
impl<D: DeviceHandle> defmt::Format for Bar<D> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Bar({} bytes)", self.mapping.len());
    }
}

// SAFETY: every access is one of the mapping, within its length.
unsafe impl<D: DeviceHandle> Access for Bar<D> {
    type Error = <<D::Sys as Sys>::Mapping as Access>::Error;

    #[inline]
    fn len(&self) -> usize {
        self.mapping.len()
    }

    #[inline]
    unsafe fn load<T: Width>(&self, offset: usize) -> Result<T, Self::Error> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.mapping.load(offset) }
    }

    #[inline]
    unsafe fn store<T: Width>(&self, offset: usize, value: T) -> Result<(), Self::Error> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.mapping.store(offset, value) }
    }

    #[inline]
    fn origin(&self, offset: usize) -> Origin {
        self.mapping.origin(offset)
    }

    #[inline]
    unsafe fn load_at<T: Width>(&self, origin: Origin, offset: usize) -> Result<T, Self::Error> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.mapping.load_at(origin, offset) }
    }

    #[inline]
    unsafe fn store_at<T: Width>(
        &self,
        origin: Origin,
        offset: usize,
        value: T,
    ) -> Result<(), Self::Error> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.mapping.store_at(origin, offset, value) }
    }
}
