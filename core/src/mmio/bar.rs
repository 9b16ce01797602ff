//! A mapped stretch of a device that is still open.

use core::marker::PhantomData;

use super::{Access, Origin, Width};
use crate::device::Device;
use crate::sys::Sys;

/// A mapped stretch of a region; it can't outlive its device.
pub struct Bar<'d, S: Sys> {
    mapping: S::Mapping,
    device: PhantomData<&'d Device<S>>,
}

impl<'d, S: Sys> Bar<'d, S> {
    /// A mapping of `device`.
    pub(crate) const fn new(_device: &'d Device<S>, mapping: S::Mapping) -> Self {
        Self {
            mapping,
            device: PhantomData,
        }
    }

    /// What the shim mapped.
    pub(crate) const fn mapping(&self) -> &S::Mapping {
        &self.mapping
    }
}

impl<S: Sys> core::fmt::Debug for Bar<'_, S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.mapping.fmt(f)
    }
}

#[cfg(feature = "defmt")]
impl<S: Sys> defmt::Format for Bar<'_, S> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Bar({} bytes)", self.mapping.len());
    }
}

// SAFETY: every access is one of the mapping, within its length.
unsafe impl<S: Sys> Access for Bar<'_, S> {
    type Error = <S::Mapping as Access>::Error;

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
