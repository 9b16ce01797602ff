//! IOVAs: the addresses that a device uses for memory, and an allocator of them.
//!
//! An [`IovaAllocator`] gives out the addresses that an IOMMU can map, and takes them back. It
//! keeps a list of what is free and nothing about each mapping: at most `N` free ranges, however
//! many mappings there are.
//!
//! ```
//! use vfio_core::abi::IovaRange;
//! use vfio_core::iova::IovaAllocator;
//!
//! // As VT-d reports: all but the addresses of message signalled interrupts.
//! let ranges = [
//!     IovaRange { start: 0, end: 0xfedf_ffff },
//!     IovaRange { start: 0xfef0_0000, end: 0x7f_ffff_ffff },
//! ];
//! let page_sizes = 0x4020_1000; // 4 KiB, 2 MiB, 1 GiB
//! let mut iovas = IovaAllocator::<64>::new(ranges, page_sizes, Some(65_535))?;
//!
//! let ring = iovas.allocate(0x1000)?;
//! // 2 MiB lie on a boundary of 2 MiB, so that one entry of the IOMMU's table maps them.
//! let buffer = iovas.allocate(0x20_0000)?;
//! assert_eq!((ring, buffer), (0, 0x20_0000));
//! // For a device that drives 28 address lines.
//! let low = iovas.allocate_up_to(0x1000, 1, 0x0fff_ffff)?;
//! assert_eq!(low, 0x1000);
//!
//! iovas.free(ring, 0x1000)?;
//! iovas.free(low, 0x1000)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod allocator;
mod error;
#[cfg(test)]
mod model;
mod place;
mod ranges;
#[cfg(test)]
mod tests;

pub use self::allocator::IovaAllocator;
pub use self::error::{IovaError, IovaRangesError};
