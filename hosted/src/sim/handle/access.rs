//! Register access to what is mapped of a region.
//!
//! The traits are unsafe to implement and their methods to call, for the sake of those that touch
//! raw memory. Nothing here does: what callers promise is checked again, safely.
#![expect(unsafe_code, reason = "the trait is unsafe to implement")]

use vfio_core::mmio::{Access, Origin as _, Protection, Width};

use super::Mapping;
use crate::sim::device::MappingError;

// SAFETY: no raw memory is touched; each access reaches the registers as one of its width.
unsafe impl Access for Mapping {
    type Error = MappingError;
    type Origin = usize;

    fn len(&self) -> usize {
        self.stretch().len
    }

    fn protection(&self) -> Protection {
        Self::protection(self)
    }

    fn origin(&self, offset: usize) -> usize {
        offset
    }

    unsafe fn load<T: Width>(&self, origin: usize, offset: usize) -> Result<T, MappingError> {
        let mut raw = T::new_zeroed();
        self.read(origin.behind(offset), raw.as_mut_bytes())?;
        Ok(T::from_device(raw))
    }

    unsafe fn store<T: Width>(
        &self,
        origin: usize,
        offset: usize,
        value: T,
    ) -> Result<(), MappingError> {
        self.write(origin.behind(offset), value.to_device().as_bytes())
    }
}
