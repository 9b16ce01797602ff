//! Register access to memory for DMA.
//!
//! The traits are unsafe to implement and their methods to call, for the sake of those that touch
//! raw memory. Nothing here does: what callers promise is checked again, safely.
#![expect(unsafe_code, reason = "the trait is unsafe to implement")]

use core::convert::Infallible;
use core::mem::size_of;
use core::ptr::NonNull;

use vfio_core::mmio::{Access, Addressable, Origin as _, Protection, Unrestricted, Width};

use super::DmaMemory;

// SAFETY: no raw memory is touched; each access is an atomic one of its width.
unsafe impl Access for DmaMemory {
    type Error = Infallible;
    type Origin = usize;

    fn len(&self) -> usize {
        self.pages().len()
    }

    fn protection(&self) -> Protection {
        Protection::BOTH
    }

    fn origin(&self, offset: usize) -> usize {
        offset
    }

    unsafe fn load<T: Width>(&self, origin: usize, offset: usize) -> Result<T, Infallible> {
        let value = self.pages().load(origin.behind(offset), size_of::<T>());
        Ok(T::truncate(value.unwrap_or(u64::MAX)))
    }

    unsafe fn store<T: Width>(
        &self,
        origin: usize,
        offset: usize,
        value: T,
    ) -> Result<(), Infallible> {
        let at = origin.behind(offset);
        // What a caller promised not to do has no effect.
        let _ = self.pages().store(at, size_of::<T>(), value.widen());
        Ok(())
    }
}

// SAFETY: as above.
unsafe impl Unrestricted for DmaMemory {}

// SAFETY: the words are shared and atomic, so that they are written through a shared reference, and
// stay where they are for as long as there is one. They hold bytes in the order of the memory.
unsafe impl Addressable for DmaMemory {
    fn as_ptr(&self) -> NonNull<u8> {
        self.pages().first()
    }
}
