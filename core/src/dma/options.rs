//! What is asked of a buffer.

use super::Direction;
use crate::sys::Pages;

/// What is asked of a buffer; a [`Direction`] alone asks for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BufferOptions {
    /// What the device may do with it.
    pub direction: Direction,
    /// The highest address that a byte may have: the DMA mask of the device.
    pub highest: u64,
    /// The alignment of the first address in bytes, a power of two.
    pub align: u64,
    /// The first address, where the caller chooses it.
    pub iova: Option<u64>,
    /// Which pages of the host it is of. Without an IOMMU they are huge ones in any case.
    pub pages: Pages,
}

impl BufferOptions {
    /// Asks for memory at any address.
    #[must_use]
    pub const fn new(direction: Direction) -> Self {
        Self {
            direction,
            highest: u64::MAX,
            align: 1,
            iova: None,
            pages: Pages::Ordinary,
        }
    }

    /// Asks for huge pages of `size` bytes, out of the host's pool.
    #[must_use]
    pub const fn huge(self, size: usize) -> Self {
        Self {
            pages: Pages::Huge(size),
            ..self
        }
    }

    /// Asks for addresses up to `highest`.
    #[must_use]
    pub const fn up_to(self, highest: u64) -> Self {
        Self { highest, ..self }
    }

    /// Asks for an address that is a multiple of `align` bytes, a power of two.
    #[must_use]
    pub const fn aligned(self, align: u64) -> Self {
        Self { align, ..self }
    }

    /// Asks for the address `iova`, a multiple of the page size. Nobody has the first page, at 0,
    /// who does not ask for it ([`IovaAllocator`](crate::dma::iova::IovaAllocator#places)).
    #[must_use]
    pub const fn at(self, iova: u64) -> Self {
        Self {
            iova: Some(iova),
            ..self
        }
    }
}

impl From<Direction> for BufferOptions {
    fn from(direction: Direction) -> Self {
        Self::new(direction)
    }
}
