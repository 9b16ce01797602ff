//! Blocks of registers in a row, such as the entries of a ring.

use core::marker::PhantomData;

use super::{Access, Block, CanReadWrite, OffsetError, Origin as _, Registers};

/// `len` blocks of registers `R` in a row, at a place that was checked: an index is all that is
/// left to be compared.
pub struct Array<A: Access, R, P = CanReadWrite> {
    access: A,
    origin: A::Origin,
    len: usize,
    registers: PhantomData<fn(R) -> R>,
    permission: PhantomData<P>,
}

impl<A: Access, R: Registers, P> Array<A, R, P> {
    pub(super) fn new(access: A, base: usize, len: usize) -> Result<Self, OffsetError> {
        const {
            assert!(
                R::SIZE.is_multiple_of(R::ALIGN),
                "blocks in a row are as long as their alignment, or a multiple of it"
            );
        }
        let (align, room) = (R::ALIGN, access.len());
        if !base.is_multiple_of(align) {
            return Err(OffsetError::Misaligned {
                offset: base,
                align,
            });
        }
        let size = R::SIZE.saturating_mul(len);
        if base.checked_add(size).is_none_or(|end| end > room) {
            return Err(OffsetError::OutOfBounds {
                offset: base,
                size,
                len: room,
            });
        }
        let origin = access.origin(base);
        Ok(Self {
            access,
            origin,
            len,
            registers: PhantomData,
            permission: PhantomData,
        })
    }

    /// Returns how many blocks there are.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Tells whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the block at `index`, if there is one.
    #[inline]
    #[must_use]
    pub fn block(&mut self, index: usize) -> Option<Block<&A, R, P>> {
        if index >= self.len {
            return None;
        }
        // All of the blocks lie in the stretch: nothing overflows.
        let offset = index.wrapping_mul(R::SIZE);
        Some(Block::checked(&self.access, self.origin.behind(offset)))
    }
}

impl<A: Access, R> Array<A, R> {
    /// Returns the access that the blocks are in.
    #[inline]
    #[must_use]
    pub const fn access(&self) -> &A {
        &self.access
    }
}

impl<A: Access + core::fmt::Debug, R, P> core::fmt::Debug for Array<A, R, P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Array")
            .field("access", &self.access)
            .field("origin", &self.origin)
            .field("len", &self.len)
            .finish()
    }
}

#[cfg(feature = "defmt")]
impl<A: Access<Origin: defmt::Format>, R, P> defmt::Format for Array<A, R, P> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Array({} at {})", self.len, self.origin);
    }
}
