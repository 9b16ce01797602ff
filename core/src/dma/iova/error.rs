//! Why IOVAs are refused.

use core::fmt;

/// Why an allocator can't do with the ranges that the IOMMU reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum IovaRangesError {
    /// The mask names no page size, or one below 4 KiB, which no kernel has.
    PageSizes {
        /// The mask: bit n stands for 2^n bytes.
        mask: u64,
    },
    /// A range ends before it starts.
    Inverted {
        /// Which range, from 0.
        index: usize,
        /// Its first address.
        start: u64,
        /// Its last address.
        end: u64,
    },
    /// There are more ranges than the allocator can hold, or more than it can beside what is
    /// allocated.
    TooMany {
        /// How many ranges and allocations it can hold.
        capacity: usize,
    },
    /// An allocation is not within the ranges.
    InUse {
        /// Its first address.
        start: u64,
        /// Its size in bytes, in whole pages.
        size: u64,
    },
}

/// Why an IOVA can't be had or given back. The allocator is as it was.
///
/// Addresses and sizes are in bytes, as they were passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum IovaError {
    /// The size is 0.
    Empty,
    /// The alignment is not a power of two.
    Alignment {
        /// The alignment.
        align: u64,
    },
    /// The address is not on a page boundary.
    Misaligned {
        /// The address.
        start: u64,
        /// The page size.
        page: u64,
    },
    /// The end lies past the address space of 2^64 bytes.
    PastEnd {
        /// The first address.
        start: u64,
        /// The size.
        size: u64,
    },
    /// The first address that is not free is none that the IOMMU can map, or is kept back.
    OutOfRange {
        /// The first address.
        start: u64,
        /// The size.
        size: u64,
    },
    /// The first address that is not free is allocated already.
    Taken {
        /// The first address.
        start: u64,
        /// The size.
        size: u64,
    },
    /// There is no allocation of this size at this address.
    NotTaken {
        /// The first address.
        start: u64,
        /// The size.
        size: u64,
    },
    /// No free range is large enough, aligned as asked and below the highest address.
    NoSpace {
        /// The size.
        size: u64,
        /// The alignment.
        align: u64,
        /// The highest address that was allowed.
        highest: u64,
    },
    /// There is no room for another allocation, or for what is to be kept back.
    NoRoom {
        /// How many allocations and usable ranges there can be together.
        capacity: usize,
    },
    /// The IOMMU makes no more mappings.
    LimitReached {
        /// How many it makes.
        avail: u32,
    },
}

impl fmt::Display for IovaRangesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::PageSizes { mask: 0 } => f.write_str("the IOMMU names no page size"),
            Self::PageSizes { mask } => write!(
                f,
                "the IOMMU's page sizes {mask:#x} include one below 4 KiB"
            ),
            Self::Inverted { index, start, end } => {
                write!(
                    f,
                    "IOVA range {index} ends at {end:#x}, before its start {start:#x}"
                )
            }
            Self::TooMany { capacity } => write!(
                f,
                "no room for the IOMMU's IOVA ranges: {capacity} ranges and allocations at most"
            ),
            Self::InUse { start, size } => write!(
                f,
                "the IOMMU can't map all of {size:#x} bytes at IOVA {start:#x} any more, which \
                 are allocated"
            ),
        }
    }
}

impl fmt::Display for IovaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => f.write_str("the size is 0"),
            Self::Alignment { align } => {
                write!(f, "the alignment {align:#x} is not a power of two")
            }
            Self::Misaligned { start, page } => {
                write!(
                    f,
                    "IOVA {start:#x} is not a multiple of the page size {page:#x}"
                )
            }
            Self::PastEnd { start, size } => {
                write!(f, "{size:#x} bytes at IOVA {start:#x} end past 2^64")
            }
            Self::OutOfRange { start, size } => {
                write!(
                    f,
                    "the IOMMU can't map all of {size:#x} bytes at IOVA {start:#x}, or some are \
                     kept back"
                )
            }
            Self::Taken { start, size } => {
                write!(
                    f,
                    "some of {size:#x} bytes at IOVA {start:#x} are allocated already"
                )
            }
            Self::NotTaken { start, size } => {
                write!(
                    f,
                    "there is no allocation of {size:#x} bytes at IOVA {start:#x}"
                )
            }
            Self::NoSpace {
                size,
                align,
                highest,
            } => write!(
                f,
                "no {size:#x} bytes aligned to {align:#x} are free up to IOVA {highest:#x}"
            ),
            Self::NoRoom { capacity } => write!(
                f,
                "no room for another allocation: {capacity} at most, with the IOMMU's ranges"
            ),
            Self::LimitReached { avail } => {
                write!(f, "all {avail} mappings that the IOMMU makes are in use")
            }
        }
    }
}

impl core::error::Error for IovaRangesError {}
impl core::error::Error for IovaError {}
