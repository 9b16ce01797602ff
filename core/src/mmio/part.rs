//! A part of a stretch of device memory.

use core::ptr::NonNull;

use super::{Access, Addressable, OffsetError, Protection, Unrestricted, Width};

/// The bytes from some offset on of what `A` reaches.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Part<A> {
    access: A,
    offset: usize,
    len: usize,
}

impl<A: Access> Part<A> {
    /// Reaches the `len` bytes at `offset` (bytes), a multiple of 8.
    ///
    /// # Errors
    /// [`OffsetError`] where they do not lie in the stretch.
    pub fn new(access: A, offset: usize, len: usize) -> Result<Self, OffsetError> {
        if !offset.is_multiple_of(8) {
            return Err(OffsetError::Misaligned { offset, align: 8 });
        }
        let room = access.len();
        if offset.checked_add(len).is_none_or(|end| end > room) {
            return Err(OffsetError::OutOfBounds {
                offset,
                size: len,
                len: room,
            });
        }
        Ok(Self {
            access,
            offset,
            len,
        })
    }
}

impl<A> Part<A> {
    /// Returns the whole.
    pub(crate) const fn whole(&self) -> &A {
        &self.access
    }
}

// SAFETY: every access is one of the stretch that it is a part of, which has all of the part.
unsafe impl<A: Access> Access for Part<A> {
    type Error = A::Error;
    type Origin = A::Origin;

    #[inline]
    fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn protection(&self) -> Protection {
        self.access.protection()
    }

    #[inline]
    fn origin(&self, offset: usize) -> A::Origin {
        self.access.origin(self.offset.wrapping_add(offset))
    }

    #[inline]
    unsafe fn load<T: Width>(&self, origin: A::Origin, offset: usize) -> Result<T, A::Error> {
        // SAFETY: the origin is one of the stretch. The register lies in the part, as the caller
        // promises, and the part in the stretch, at a multiple of 8.
        unsafe { self.access.load(origin, offset) }
    }

    #[inline]
    unsafe fn store<T: Width>(
        &self,
        origin: A::Origin,
        offset: usize,
        value: T,
    ) -> Result<(), A::Error> {
        // SAFETY: as above.
        unsafe { self.access.store(origin, offset, value) }
    }

    #[inline]
    unsafe fn load_bytes(&self, offset: usize, bytes: &mut [u8]) -> Result<(), A::Error> {
        let offset = self.offset.wrapping_add(offset);
        // SAFETY: the bytes lie in the part, as the caller promises, and the part in the stretch.
        unsafe { self.access.load_bytes(offset, bytes) }
    }

    #[inline]
    unsafe fn store_bytes(&self, offset: usize, bytes: &[u8]) -> Result<(), A::Error> {
        let offset = self.offset.wrapping_add(offset);
        // SAFETY: as above.
        unsafe { self.access.store_bytes(offset, bytes) }
    }
}

// SAFETY: every access is one of the stretch that it is a part of.
unsafe impl<A: Unrestricted> Unrestricted for Part<A> {}

// SAFETY: the part lies in the memory, which is where its address says.
unsafe impl<A: Addressable> Addressable for Part<A> {
    #[inline]
    fn as_ptr(&self) -> NonNull<u8> {
        // SAFETY: the part starts in the memory, or at its end.
        unsafe { self.access.as_ptr().add(self.offset) }
    }
}
