//! An allocator of IOVAs.

use super::place::{Unplaced, Wanted, is_multiple};
use super::ranges::{Full, Ranges};
use super::{IovaError, IovaRangesError};
use crate::abi::IovaRange;

/// Smaller pages exist on no machine that Linux runs on.
const MIN_PAGE: u64 = 0x1000;

/// The free IOVAs of one IOMMU context, in at most `N` ranges.
///
/// Every operation takes time that is linear in `N` at worst; checks of an address are
/// logarithmic. The size is about `32 * N` bytes.
///
/// Sizes are rounded up to whole pages everywhere: what was allocated with a size is freed with
/// the same. Address 0 is given out as any other where the IOMMU can map it; who can't use it
/// reserves it.
///
/// # When the free ranges are many
/// With `N` free ranges, no operation may add another. [`Self::allocate`] then uses places that
/// add none, while there are any. [`Self::free`] in the midst of what is allocated can fail
/// with [`IovaError::Fragmented`]: these addresses stay allocated, and can be freed once a
/// neighbour is free. It never fails while the mappings and the IOMMU's ranges together are not
/// more than `N`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct IovaAllocator<const N: usize> {
    /// What the IOMMU can map, in whole pages.
    ranges: Ranges<N>,
    /// What is left of it.
    free: Ranges<N>,
    page_sizes: u64,
    page: u64,
    avail: Option<u32>,
    mappings: u64,
}

impl<const N: usize> IovaAllocator<N> {
    /// An allocator of what an IOMMU reports, of which nothing is mapped.
    ///
    /// - `ranges`: [`IommuInfo::iova_ranges`](crate::info::IommuInfo::iova_ranges), in any order.
    ///   What overlaps or touches becomes one range, and what does not fill a page is left out.
    /// - `page_sizes`: [`IommuInfo::iova_pgsizes`](crate::info::IommuInfo::iova_pgsizes), bit n
    ///   for 2^n bytes. Addresses and sizes are multiples of the smallest.
    /// - `avail`: [`IommuInfo::dma_avail`](crate::info::IommuInfo::dma_avail), how many mappings
    ///   can be made. There is no limit with `None`, and none with `u32::MAX`, which is what
    ///   iommufd reports.
    ///
    /// It takes time linear in `N` for each of the `ranges`.
    ///
    /// # Errors
    /// Page sizes that are none, a range that ends before it starts, or more ranges than `N`.
    pub fn new(
        ranges: impl IntoIterator<Item = IovaRange>,
        page_sizes: u64,
        avail: Option<u32>,
    ) -> Result<Self, IovaRangesError> {
        let page = page_sizes & page_sizes.wrapping_neg();
        if page < MIN_PAGE {
            return Err(IovaRangesError::PageSizes { mask: page_sizes });
        }
        let mut whole = Ranges::new();
        for (index, range) in ranges.into_iter().enumerate() {
            let IovaRange { start, end } = range;
            if end < start {
                return Err(IovaRangesError::Inverted { index, start, end });
            }
            whole
                .add(range)
                .map_err(|Full| IovaRangesError::TooMany { capacity: N })?;
        }
        whole.trim(page);
        Ok(Self {
            free: whole.clone(),
            ranges: whole,
            page_sizes,
            page,
            avail: avail.filter(|&avail| avail != u32::MAX),
            mappings: 0,
        })
    }

    /// Allocates `size` bytes for a mapping and returns the first address.
    ///
    /// It is the lowest free place, except that while less than half of the list is in use, a
    /// place on a boundary of the IOMMU's larger page sizes, up to `size`, is preferred: the
    /// IOMMU can map it with fewer entries.
    ///
    /// # Errors
    /// A size of 0, no free place, or no more mappings.
    #[inline]
    pub fn allocate(&mut self, size: u64) -> Result<u64, IovaError> {
        self.allocate_up_to(size, self.page, u64::MAX)
    }

    /// Like [`Self::allocate`], at a multiple of `align` bytes, a power of two.
    ///
    /// # Errors
    /// As [`Self::allocate`], and an alignment that is not a power of two.
    #[inline]
    pub fn allocate_aligned(&mut self, size: u64, align: u64) -> Result<u64, IovaError> {
        self.allocate_up_to(size, align, u64::MAX)
    }

    /// Like [`Self::allocate_aligned`], with no byte above the address `highest`: the DMA mask
    /// of a device that does not drive all address lines.
    ///
    /// # Errors
    /// As [`Self::allocate_aligned`].
    pub fn allocate_up_to(
        &mut self,
        size: u64,
        align: u64,
        highest: u64,
    ) -> Result<u64, IovaError> {
        let span = self.span(size)?;
        if !align.is_power_of_two() {
            return Err(IovaError::Alignment { align });
        }
        self.check_limit()?;
        let wanted = Wanted {
            span,
            align: align.max(self.page),
            highest,
        };
        let start = self.place(&wanted).map_err(|reason| match reason {
            Unplaced::Full => IovaError::Fragmented { capacity: N },
            Unplaced::NoSpace => IovaError::NoSpace {
                size,
                align: wanted.align,
                highest,
            },
        })?;
        let end = start
            .checked_add(span)
            .ok_or(IovaError::PastEnd { start, size })?;
        self.take(IovaRange { start, end })?;
        Ok(start)
    }

    /// Allocates `size` bytes at `start`, for a mapping whose place is given.
    ///
    /// # Errors
    /// A size of 0, a `start` off page boundaries, an end past the address space, addresses that
    /// the IOMMU can't map or that are allocated already, one free range too many, or no more
    /// mappings.
    pub fn reserve(&mut self, start: u64, size: u64) -> Result<(), IovaError> {
        let range = self.range(start, size)?;
        if !self.free.covers(range) {
            return Err(IovaError::Taken { start, size });
        }
        self.check_limit()?;
        self.take(range)
    }

    /// Gives back `size` bytes at `start`: a whole allocation, once its mapping is undone. They
    /// become one range with what is free before and behind them.
    ///
    /// # Errors
    /// As for [`Self::reserve`] where nothing of the kind can be allocated; addresses that are
    /// free already, all or some; one free range too many (see [above](Self)).
    pub fn free(&mut self, start: u64, size: u64) -> Result<(), IovaError> {
        let range = self.range(start, size)?;
        if self.free.overlaps(range) {
            return Err(IovaError::NotTaken { start, size });
        }
        self.free
            .add(range)
            .map_err(|Full| IovaError::Fragmented { capacity: N })?;
        // Who frees an allocation in pieces does not get more mappings by that.
        self.mappings = if self.free == self.ranges {
            0
        } else {
            self.mappings.saturating_sub(1).max(1)
        };
        Ok(())
    }

    /// The smallest page in bytes: every address and every size is a multiple of it.
    #[must_use]
    pub const fn page_size(&self) -> u64 {
        self.page
    }

    /// How many allocations there are.
    #[must_use]
    pub const fn mappings(&self) -> u64 {
        self.mappings
    }

    /// How many bytes are free; up to 2^64, which a `u64` can't hold. O(N).
    #[must_use]
    pub fn available(&self) -> u128 {
        self.free_ranges().fold(0, |sum, range| {
            let span = u128::from(range.end.saturating_sub(range.start));
            sum.saturating_add(span).saturating_add(1)
        })
    }

    /// The largest size in bytes for which there is a place; `u64::MAX` where all 2^64 are free.
    /// O(N).
    #[must_use]
    pub fn largest_free(&self) -> u64 {
        self.free_ranges()
            .map(|range| range.end.saturating_sub(range.start).saturating_add(1))
            .max()
            .unwrap_or(0)
    }

    /// The free ranges in ascending order, never two that touch; the end of a range belongs to
    /// it.
    pub fn free_ranges(&self) -> impl ExactSizeIterator<Item = IovaRange> + '_ {
        self.free.iter()
    }

    /// The ranges of the IOMMU, in whole pages, as [`Self::free_ranges`].
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = IovaRange> + '_ {
        self.ranges.iter()
    }

    /// What to add to the first address for the last one of `size` bytes in whole pages. Unlike
    /// the size, it always fits.
    fn span(&self, size: u64) -> Result<u64, IovaError> {
        let last = size.checked_sub(1).ok_or(IovaError::Empty)?;
        Ok(last | self.page.wrapping_sub(1))
    }

    /// `size` bytes at `start` in whole pages, which the IOMMU can map.
    fn range(&self, start: u64, size: u64) -> Result<IovaRange, IovaError> {
        let span = self.span(size)?;
        if !is_multiple(start, self.page) {
            let page = self.page;
            return Err(IovaError::Misaligned { start, page });
        }
        let end = start
            .checked_add(span)
            .ok_or(IovaError::PastEnd { start, size })?;
        let range = IovaRange { start, end };
        if self.ranges.covers(range) {
            Ok(range)
        } else {
            Err(IovaError::OutOfRange { start, size })
        }
    }

    fn check_limit(&self) -> Result<(), IovaError> {
        match self.avail {
            Some(avail) if self.mappings >= u64::from(avail) => {
                Err(IovaError::LimitReached { avail })
            }
            _ => Ok(()),
        }
    }

    /// Takes a range that is free.
    fn take(&mut self, range: IovaRange) -> Result<(), IovaError> {
        self.free
            .remove(range)
            .map_err(|Full| IovaError::Fragmented { capacity: N })?;
        self.mappings = self.mappings.saturating_add(1);
        Ok(())
    }

    /// The place for an allocation. O(N).
    fn place(&self, wanted: &Wanted) -> Result<u64, Unplaced> {
        if !self.free.is_full() {
            // Better alignment leaves gaps: not at the price of the list's second half.
            let roomy = self.free.len() < N / 2;
            let page_sizes = if roomy { self.page_sizes } else { 0 };
            wanted
                .best(self.free.iter(), page_sizes)
                .ok_or(Unplaced::NoSpace)
        } else if let Some(start) = self.free.iter().find_map(|range| wanted.at_edge(range)) {
            Ok(start)
        } else if wanted.best(self.free.iter(), 0).is_some() {
            Err(Unplaced::Full)
        } else {
            Err(Unplaced::NoSpace)
        }
    }
}
