//! Device memory behind a handle.

use core::ptr::NonNull;

use super::{Access, Addressable, Forward, Unrestricted};
use crate::handle::Handle;

/// Reaches what a handle points to, and holds on to it.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Through<H>(H);

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

// SAFETY: a handle always points to the same value, which lives at least as long.
unsafe impl<H: Handle<Target: Access + Sized>> Forward for Through<H> {
    type Target = H::Target;
    type Error = <H::Target as Access>::Error;

    #[inline]
    fn target(&self) -> &H::Target {
        &self.0
    }
}

// SAFETY: every access is one of the value behind the handle.
unsafe impl<H: Handle<Target: Unrestricted + Sized>> Unrestricted for Through<H> {}

// SAFETY: the address is that of the value behind the handle.
unsafe impl<H: Handle<Target: Addressable + Sized>> Addressable for Through<H> {
    #[inline]
    fn as_ptr(&self) -> NonNull<u8> {
        self.0.as_ptr()
    }
}
