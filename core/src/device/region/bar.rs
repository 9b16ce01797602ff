//! A mapped stretch of a device that is still open.

use crate::device::DeviceHandle;
use crate::mmio::{Access, Forward};
use crate::sys::Sys;

/// A mapped stretch of a region, with a handle to its device.
pub struct MappedRegion<D: DeviceHandle> {
    mapping: <D::Sys as Sys>::Mapping,
    /// The device stays open for as long as it is mapped.
    _device: D,
}

impl<D: DeviceHandle> MappedRegion<D> {
    /// Creates a mapping of `device`.
    pub(super) const fn new(device: D, mapping: <D::Sys as Sys>::Mapping) -> Self {
        Self {
            mapping,
            _device: device,
        }
    }

    /// Returns the shim's mapping.
    pub(crate) const fn mapping(&self) -> &<D::Sys as Sys>::Mapping {
        &self.mapping
    }
}

impl<D: DeviceHandle> core::fmt::Debug for MappedRegion<D> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.mapping.fmt(f)
    }
}

#[cfg(feature = "defmt")]
impl<D: DeviceHandle> defmt::Format for MappedRegion<D> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "MappedRegion({} bytes)", self.mapping.len());
    }
}

// SAFETY: the mapping is never changed for another.
unsafe impl<D: DeviceHandle> Forward for MappedRegion<D> {
    type Target = <D::Sys as Sys>::Mapping;
    type Error = <<D::Sys as Sys>::Mapping as Access>::Error;

    #[inline]
    fn target(&self) -> &<D::Sys as Sys>::Mapping {
        &self.mapping
    }
}
