//! What memory has in common that a device reaches.

use core::convert::Infallible;

use super::{Buffer, DmaHandle};
use crate::mmio::Addressable;

/// Memory that a device reaches: a whole [`Buffer`], a part of one, or a chunk of a pool.
///
/// # Safety
/// For as long as the value lives, all [`len`](crate::mmio::Access::len) bytes from
/// [`Reachable::iova`] on are its own in the address space that it was made for: a device finds
/// them there, or nothing where safe code unmapped them by hand, and they are memory for DMA.
pub unsafe trait Reachable: Addressable<Error = Infallible> {
    /// Returns where the device finds the first byte.
    fn iova(&self) -> u64;
}

// SAFETY: a buffer is mapped at its address, which is given to nobody else, until it is dropped.
unsafe impl<M: DmaHandle> Reachable for Buffer<M> {
    fn iova(&self) -> u64 {
        Self::iova(self)
    }
}

// SAFETY: what is borrowed lives at least as long.
unsafe impl<R: Reachable> Reachable for &R {
    fn iova(&self) -> u64 {
        R::iova(self)
    }
}
