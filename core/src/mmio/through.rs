//! Device memory behind a handle.

use super::{Access, Origin, Width};
use crate::handle::Handle;

/// What a handle points to is reached through it.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Through<H>(pub(super) H);

impl<H: Handle<Target: Access>> Through<H> {
    /// Reaches what `handle` points to.
    pub const fn new(handle: H) -> Self {
        Self(handle)
    }

    /// Returns the handle.
    #[must_use]
    pub const fn handle(&self) -> &H {
        &self.0
    }
}

// SAFETY: every access is one of what the handle points to, which is always the same and lives
// at least as long as the handle.
unsafe impl<H: Handle<Target: Access>> Access for Through<H> {
    type Error = <H::Target as Access>::Error;

    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    unsafe fn load<T: Width>(&self, offset: usize) -> Result<T, Self::Error> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.load(offset) }
    }

    #[inline]
    unsafe fn store<T: Width>(&self, offset: usize, value: T) -> Result<(), Self::Error> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.store(offset, value) }
    }

    #[inline]
    fn origin(&self, offset: usize) -> Origin {
        self.0.origin(offset)
    }

    #[inline]
    unsafe fn load_at<T: Width>(&self, origin: Origin, offset: usize) -> Result<T, Self::Error> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.load_at(origin, offset) }
    }

    #[inline]
    unsafe fn store_at<T: Width>(
        &self,
        origin: Origin,
        offset: usize,
        value: T,
    ) -> Result<(), Self::Error> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.store_at(origin, offset, value) }
    }
}
