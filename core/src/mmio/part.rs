//! A part of a stretch of device memory.

use super::{Access, OffsetError, Origin, Width};

/// The bytes from some offset on of what `A` reaches.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Part<A> {
    access: A,
    offset: usize,
    len: usize,
}

impl<A: Access> Part<A> {
    /// `len` bytes at `offset`, a multiple of 8.
    pub(super) fn new(access: A, offset: usize, len: usize) -> Result<Self, OffsetError> {
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

// SAFETY: every access is one of the stretch that it is a part of, which has all of the part.
unsafe impl<A: Access> Access for Part<A> {
    type Error = A::Error;

    #[inline]
    fn len(&self) -> usize {
        self.len
    }

    #[inline]
    unsafe fn load<T: Width>(&self, offset: usize) -> Result<T, Self::Error> {
        // SAFETY: the offset lies in the part, as the caller promises, and the part in the
        // stretch, at a multiple of 8.
        unsafe { self.access.load(self.offset.wrapping_add(offset)) }
    }

    #[inline]
    unsafe fn store<T: Width>(&self, offset: usize, value: T) -> Result<(), Self::Error> {
        // SAFETY: as above.
        unsafe { self.access.store(self.offset.wrapping_add(offset), value) }
    }

    #[inline]
    fn origin(&self, offset: usize) -> Origin {
        self.access.origin(self.offset.wrapping_add(offset))
    }

    #[inline]
    unsafe fn load_at<T: Width>(&self, origin: Origin, offset: usize) -> Result<T, Self::Error> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.access.load_at(origin, offset) }
    }

    #[inline]
    unsafe fn store_at<T: Width>(
        &self,
        origin: Origin,
        offset: usize,
        value: T,
    ) -> Result<(), Self::Error> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.access.store_at(origin, offset, value) }
    }
}
