//! How device memory is reached.

use super::{Origin, Width};

/// A way to reach a stretch of device memory, from its first byte on.
///
/// # Safety
///
/// Implementations that touch memory must stay within [`Access::len`] bytes for as long as they
/// live, and must make each access as one of its full width. What [`Access::origin`] gave must
/// hold for as long, also where the value was moved since.
pub unsafe trait Access {
    /// How an access can fail; [`core::convert::Infallible`] where it can't.
    type Error: core::error::Error + 'static;

    /// The length of the stretch in bytes.
    fn len(&self) -> usize;

    /// Whether the stretch is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the register at `offset` (bytes), in the host's byte order.
    ///
    /// # Errors
    /// Where the access fails; never a value that was not read.
    ///
    /// # Safety
    /// `offset` is a multiple of the size of `T`, and `offset + size_of::<T>() <= self.len()`.
    unsafe fn load<T: Width>(&self, offset: usize) -> Result<T, Self::Error>;

    /// Writes the register at `offset` (bytes), from the host's byte order.
    ///
    /// # Errors
    /// Where the access fails.
    ///
    /// # Safety
    /// As for [`Access::load`].
    unsafe fn store<T: Width>(&self, offset: usize, value: T) -> Result<(), Self::Error>;

    /// Where a block of registers at `offset` (bytes) lies: found once, and not at each access.
    ///
    /// Who overrides it overrides [`Access::load_at`] and [`Access::store_at`] too.
    #[inline]
    fn origin(&self, offset: usize) -> Origin {
        Origin::at_offset(offset)
    }

    /// Reads the register `offset` bytes behind `origin`, as [`Access::load`].
    ///
    /// # Errors
    /// As [`Access::load`].
    ///
    /// # Safety
    /// `origin` is that of some offset, by [`Access::origin`] of this very value, and that offset
    /// and `offset` together are as for [`Access::load`].
    #[inline]
    unsafe fn load_at<T: Width>(&self, origin: Origin, offset: usize) -> Result<T, Self::Error> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.load(origin.offset(offset)) }
    }

    /// Writes the register `offset` bytes behind `origin`, as [`Access::store`].
    ///
    /// # Errors
    /// As [`Access::store`].
    ///
    /// # Safety
    /// As for [`Access::load_at`].
    #[inline]
    unsafe fn store_at<T: Width>(
        &self,
        origin: Origin,
        offset: usize,
        value: T,
    ) -> Result<(), Self::Error> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.store(origin.offset(offset), value) }
    }
}

// SAFETY: every access is one of the access behind the reference, which lives at least as long.
unsafe impl<A: Access + ?Sized> Access for &A {
    type Error = A::Error;

    #[inline]
    fn len(&self) -> usize {
        A::len(self)
    }

    #[inline]
    unsafe fn load<T: Width>(&self, offset: usize) -> Result<T, Self::Error> {
        // SAFETY: the caller's promise is passed on.
        unsafe { A::load(self, offset) }
    }

    #[inline]
    unsafe fn store<T: Width>(&self, offset: usize, value: T) -> Result<(), Self::Error> {
        // SAFETY: the caller's promise is passed on.
        unsafe { A::store(self, offset, value) }
    }

    #[inline]
    fn origin(&self, offset: usize) -> Origin {
        A::origin(self, offset)
    }

    #[inline]
    unsafe fn load_at<T: Width>(&self, origin: Origin, offset: usize) -> Result<T, Self::Error> {
        // SAFETY: the caller's promise is passed on.
        unsafe { A::load_at(self, origin, offset) }
    }

    #[inline]
    unsafe fn store_at<T: Width>(
        &self,
        origin: Origin,
        offset: usize,
        value: T,
    ) -> Result<(), Self::Error> {
        // SAFETY: the caller's promise is passed on.
        unsafe { A::store_at(self, origin, offset, value) }
    }
}
