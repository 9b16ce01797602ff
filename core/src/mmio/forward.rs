//! Access to device memory through something else.

use core::ptr::NonNull;

use super::{Access, Addressable, Protection, Unrestricted, Width};

/// Reaches the device memory that something else reaches: a reference, an owner, a wrapper.
///
/// It is all that such a type implements; it has [`Access`] by it.
///
/// # Safety
///
/// [`Forward::target`] returns the same access each time, for as long as the value lives, or one
/// of the same memory that takes the other's origins.
pub unsafe trait Forward {
    /// What reaches the memory.
    type Target: Access;

    /// How an access can fail: that of the target, unless it is to be named otherwise.
    type Error: core::error::Error + From<<Self::Target as Access>::Error> + 'static;

    /// Returns what reaches the memory.
    fn target(&self) -> &Self::Target;
}

// SAFETY: every access is one of the target, which is always the same.
#[diagnostic::do_not_recommend]
unsafe impl<F: Forward> Access for F {
    type Error = F::Error;
    type Origin = <F::Target as Access>::Origin;

    #[inline]
    fn len(&self) -> usize {
        self.target().len()
    }

    #[inline]
    fn protection(&self) -> Protection {
        self.target().protection()
    }

    #[inline]
    fn origin(&self, offset: usize) -> Self::Origin {
        self.target().origin(offset)
    }

    #[inline]
    unsafe fn load<T: Width>(&self, origin: Self::Origin, offset: usize) -> Result<T, F::Error> {
        // SAFETY: the caller's promise is passed on.
        Ok(unsafe { self.target().load(origin, offset) }?)
    }

    #[inline]
    unsafe fn store<T: Width>(
        &self,
        origin: Self::Origin,
        offset: usize,
        value: T,
    ) -> Result<(), F::Error> {
        // SAFETY: the caller's promise is passed on.
        Ok(unsafe { self.target().store(origin, offset, value) }?)
    }

    #[inline]
    unsafe fn load_bytes(&self, offset: usize, bytes: &mut [u8]) -> Result<(), F::Error> {
        // SAFETY: the caller's promise is passed on.
        Ok(unsafe { self.target().load_bytes(offset, bytes) }?)
    }

    #[inline]
    unsafe fn store_bytes(&self, offset: usize, bytes: &[u8]) -> Result<(), F::Error> {
        // SAFETY: the caller's promise is passed on.
        Ok(unsafe { self.target().store_bytes(offset, bytes) }?)
    }
}

// SAFETY: a reference always refers to the same value, which lives at least as long.
unsafe impl<A: Access> Forward for &A {
    type Target = A;
    type Error = A::Error;

    #[inline]
    fn target(&self) -> &A {
        self
    }
}

// SAFETY: every access is one of the value behind the reference.
unsafe impl<A: Unrestricted> Unrestricted for &A {}

// SAFETY: the address is that of the value behind the reference.
unsafe impl<A: Addressable> Addressable for &A {
    #[inline]
    fn as_ptr(&self) -> NonNull<u8> {
        A::as_ptr(self)
    }
}
