//! Memory that a device reaches is read and written as its registers are.

use core::convert::Infallible;

use super::{Buffer, DmaHandle};
use crate::mmio::{Access, Origin, Width};

// SAFETY: every access is one of the memory, within its length; the buffer owns it.
unsafe impl<M: DmaHandle> Access for Buffer<M> {
    type Error = Infallible;

    #[inline]
    fn len(&self) -> usize {
        self.memory().len()
    }

    #[inline]
    unsafe fn load<T: Width>(&self, offset: usize) -> Result<T, Infallible> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.memory().load(offset) }
    }

    #[inline]
    unsafe fn store<T: Width>(&self, offset: usize, value: T) -> Result<(), Infallible> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.memory().store(offset, value) }
    }

    #[inline]
    fn origin(&self, offset: usize) -> Origin {
        self.memory().origin(offset)
    }

    #[inline]
    unsafe fn load_at<T: Width>(&self, origin: Origin, offset: usize) -> Result<T, Self::Error> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.memory().load_at(origin, offset) }
    }

    #[inline]
    unsafe fn store_at<T: Width>(
        &self,
        origin: Origin,
        offset: usize,
        value: T,
    ) -> Result<(), Self::Error> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.memory().store_at(origin, offset, value) }
    }
}
