//! Where a block of registers starts.

use core::ptr::NonNull;

/// Where a block of registers lies in a stretch of device memory, as its [`Access`](super::Access)
/// found it, once, for all accesses to come.
///
/// It is an address where registers are reached by one, so that a driver's access adds nothing to
/// it but the register's place in the block, and an offset in bytes everywhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin(*mut u8);

impl Origin {
    /// At `offset` bytes from the start of the stretch.
    #[inline]
    #[must_use]
    pub const fn at_offset(offset: usize) -> Self {
        Self(core::ptr::without_provenance_mut(offset))
    }

    /// At `address`.
    #[inline]
    #[must_use]
    pub const fn at_address(address: NonNull<u8>) -> Self {
        Self(address.as_ptr())
    }

    /// `bytes` behind it.
    #[inline]
    #[must_use]
    pub const fn behind(self, bytes: usize) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    /// The offset of what lies `bytes` behind it.
    #[inline]
    #[must_use]
    pub fn offset(self, bytes: usize) -> usize {
        self.0.addr().wrapping_add(bytes)
    }

    /// The address of what lies `bytes` behind it; nothing says that anything is there.
    #[inline]
    #[must_use]
    pub const fn address(self, bytes: usize) -> *mut u8 {
        self.0.wrapping_add(bytes)
    }
}

// SAFETY: a number; what may be done with it is for the access to say.
unsafe impl Send for Origin {}

// SAFETY: as above.
unsafe impl Sync for Origin {}

#[cfg(feature = "defmt")]
impl defmt::Format for Origin {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{:#x}", self.0.addr());
    }
}
