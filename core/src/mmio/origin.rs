//! Where registers are.

use core::fmt;
use core::ptr::NonNull;

mod sealed {
    pub trait Sealed {}
}

/// A place in a stretch of device memory, as its [`Access`](super::Access) finds it.
pub trait Origin: sealed::Sealed + Copy + fmt::Debug + Send + Sync + 'static {
    /// Returns the place `bytes` behind this one.
    #[must_use]
    fn behind(self, bytes: usize) -> Self;
}

/// An address in the address space of the program. Only [`Mapped`](super::Mapped) makes one, so
/// that a driver's access adds nothing to it but the register's place in its block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Address(*mut u8);

impl Address {
    #[inline]
    pub(super) const fn new(address: NonNull<u8>) -> Self {
        Self(address.as_ptr())
    }

    /// Returns the address of what lies `bytes` behind it; nothing says that anything is there.
    #[inline]
    pub(super) const fn at<T>(self, bytes: usize) -> *mut T {
        self.0.wrapping_add(bytes).cast()
    }
}

impl sealed::Sealed for Address {}

impl Origin for Address {
    #[inline]
    fn behind(self, bytes: usize) -> Self {
        Self(self.0.wrapping_add(bytes))
    }
}

impl sealed::Sealed for usize {}

/// An offset in bytes from the start of the stretch.
impl Origin for usize {
    #[inline]
    fn behind(self, bytes: usize) -> Self {
        self.wrapping_add(bytes)
    }
}

// SAFETY: a number; what may be done with it is for the access to say.
unsafe impl Send for Address {}

// SAFETY: as above.
unsafe impl Sync for Address {}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Pointer::fmt(&self.0, f)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Address {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{:#x}", self.0.addr());
    }
}
