//! IOVAs: the addresses that a device uses for memory, and an allocator of them.
//!
//! An [`IovaAllocator`] gives out the addresses that an IOMMU can map, and takes them back. It
//! has room for a number of allocations, which is chosen where it is declared, and gives back
//! whatever it gave out, in any order.
//!
//! ```
//! use vfio_core::wire::abi::IovaRange;
//! use vfio_core::dma::iova::{IovaAllocator, IovaError};
//!
//! // As VT-d reports: all but the addresses of message signalled interrupts.
//! let ranges = [
//!     IovaRange { start: 0, end: 0xfedf_ffff },
//!     IovaRange { start: 0xfef0_0000, end: 0x7f_ffff_ffff },
//! ];
//! let page_sizes = 0x4020_1000; // 4 KiB, 2 MiB, 1 GiB
//! let mut iovas = IovaAllocator::<64>::new(ranges, page_sizes, Some(65_535))?;
//!
//! // Address 0 is never given out: many devices take it for none.
//! let ring = iovas.allocate(0x1000)?;
//! // 2 MiB lie on a boundary of 2 MiB, so that one entry of the IOMMU's table maps them.
//! let buffer = iovas.allocate(0x20_0000)?;
//! assert_eq!((ring, buffer), (0x1000, 0x20_0000));
//! // For a device that drives 28 address lines.
//! let low = iovas.allocate_up_to(0x1000, 1, 0x0fff_ffff)?;
//! assert_eq!(low, 0x2000);
//!
//! // The kernel tells other ranges once another device shares the address space.
//! let narrower = [IovaRange { start: 0, end: 0x7fff_ffff }];
//! iovas.narrow(narrower)?;
//!
//! // What was allocated is freed whole.
//! let half = iovas.free(buffer, 0x10_0000);
//! assert_eq!(half, Err(IovaError::NotTaken { start: buffer, size: 0x10_0000 }));
//! iovas.free(buffer, 0x20_0000)?;
//! iovas.free(ring, 0x1000)?;
//! iovas.free(low, 0x1000)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod allocator;
mod class;
mod error;
#[cfg(test)]
mod model;
mod place;
mod space;
mod stretches;
#[cfg(test)]
mod tests;
mod tree;

pub use self::allocator::IovaAllocator;
pub use self::error::{IovaError, IovaRangesError};
