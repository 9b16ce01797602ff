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

mod error;
#[cfg(test)]
mod model;
mod ranges;

use self::ranges::{Full, Ranges};
use crate::abi::IovaRange;

pub use self::error::{IovaError, IovaRangesError};

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
        self.free.as_slice().iter().copied()
    }

    /// The ranges of the IOMMU, in whole pages, as [`Self::free_ranges`].
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = IovaRange> + '_ {
        self.ranges.as_slice().iter().copied()
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
        let free = self.free.as_slice();
        if !self.free.is_full() {
            // Better alignment leaves gaps: not at the price of the list's second half.
            let roomy = free.len() < N / 2;
            let page_sizes = if roomy { self.page_sizes } else { 0 };
            wanted.best(free, page_sizes).ok_or(Unplaced::NoSpace)
        } else if let Some(start) = free.iter().find_map(|range| wanted.at_edge(*range)) {
            Ok(start)
        } else if wanted.best(free, 0).is_some() {
            Err(Unplaced::Full)
        } else {
            Err(Unplaced::NoSpace)
        }
    }
}

/// Why there is no place.
enum Unplaced {
    NoSpace,
    /// There is one in the midst of a free range, and no room for a range more.
    Full,
}

/// What a place is looked for.
struct Wanted {
    /// From the first address to the last.
    span: u64,
    /// A power of two, at least a page.
    align: u64,
    /// The last address must not be above.
    highest: u64,
}

impl Wanted {
    /// The lowest and the highest address of `range` at which it can start, alignment aside.
    fn starts(&self, range: IovaRange) -> Option<(u64, u64)> {
        let last = range.end.min(self.highest).checked_sub(self.span)?;
        (range.start <= last).then_some((range.start, last))
    }

    /// The lowest place that is aligned best: to the largest of `page_sizes` that the size
    /// reaches and a free range allows, and in any case as asked.
    fn best(&self, free: &[IovaRange], page_sizes: u64) -> Option<u64> {
        let size = self.span.saturating_add(1);
        let goal = self.align.max(largest_up_to(page_sizes, size));
        let mut best: Option<(u64, u64)> = None;
        for &range in free {
            let Some((first, last)) = self.starts(range) else {
                continue;
            };
            let possible = roundest(first, last);
            if possible < self.align {
                continue;
            }
            let align = self
                .align
                .max(largest_up_to(page_sizes, size.min(possible)));
            if best.is_none_or(|(other, _)| other < align) {
                best = Some((align, first.checked_next_multiple_of(align)?));
                if align == goal {
                    break;
                }
            }
        }
        best.map(|(_, start)| start)
    }

    /// A place at the start or at the end of `range`, so that one free range is left at most.
    fn at_edge(&self, range: IovaRange) -> Option<u64> {
        let (first, last) = self.starts(range)?;
        let at_end = last.checked_add(self.span) == Some(range.end);
        if is_multiple(first, self.align) {
            Some(first)
        } else {
            (at_end && is_multiple(last, self.align)).then_some(last)
        }
    }
}

/// Whether `address` is a multiple of `align`, a power of two.
const fn is_multiple(address: u64, align: u64) -> bool {
    address & align.wrapping_sub(1) == 0
}

/// The highest bit of `page_sizes` that is not above `limit`; 0 where there is none.
fn largest_up_to(page_sizes: u64, limit: u64) -> u64 {
    let below = u64::MAX.checked_shr(limit.leading_zeros()).unwrap_or(0);
    let sizes = page_sizes & below;
    sizes
        .checked_ilog2()
        .and_then(|bit| 1_u64.checked_shl(bit))
        .unwrap_or(0)
}

/// The largest power of two that has a multiple from `first` to `last`.
fn roundest(first: u64, last: u64) -> u64 {
    // The highest bit that changes on the way from before `first` to `last`: where it becomes
    // set, all bits below it are clear.
    match first.checked_sub(1) {
        Some(before) => largest_up_to(before ^ last, u64::MAX),
        None => 1 << 63,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    const PAGE: u64 = 0x1000;
    const MIB: u64 = 0x10_0000;
    const X86: u64 = 0x4020_1000;
    const LAST_PAGE: u64 = u64::MAX - 0xfff;

    fn allocator<const N: usize>(ranges: &[(u64, u64)], page_sizes: u64) -> IovaAllocator<N> {
        new(ranges, page_sizes, None).unwrap()
    }

    fn new<const N: usize>(
        ranges: &[(u64, u64)],
        page_sizes: u64,
        avail: Option<u32>,
    ) -> Result<IovaAllocator<N>, IovaRangesError> {
        let ranges = ranges.iter().map(|&(start, end)| IovaRange { start, end });
        IovaAllocator::new(ranges, page_sizes, avail)
    }

    fn free<const N: usize>(iovas: &IovaAllocator<N>) -> Vec<(u64, u64)> {
        iovas.free_ranges().map(|r| (r.start, r.end)).collect()
    }

    #[test]
    fn ranges_are_sorted_joined_and_cut_to_pages() {
        let ranges = [(0x5000, 0x8123), (0x1001, 0x3fff), (0x8000, 0x9fff)];
        let iovas = allocator::<2>(&ranges, PAGE);
        assert_eq!(free(&iovas), [(0x2000, 0x3fff), (0x5000, 0x9fff)]);
        assert_eq!(iovas.available(), 0x7000);
        assert_eq!(iovas.largest_free(), 0x5000);
    }

    #[test]
    fn reports_that_make_no_sense_are_refused() {
        let inverted = IovaRangesError::Inverted {
            index: 1,
            start: 0x2000,
            end: 0x1fff,
        };
        let ranges = [(0, 0xfff), (0x2000, 0x1fff)];
        assert_eq!(new::<4>(&ranges, PAGE, None), Err(inverted));
        assert_eq!(
            inverted.to_string(),
            "IOVA range 1 ends at 0x1fff, before its start 0x2000"
        );
        for mask in [0, 1, 0x800, 0x1800] {
            let refused = Err(IovaRangesError::PageSizes { mask });
            assert_eq!(new::<4>(&[(0, 0xffff)], mask, None), refused);
        }
        let apart = [(0, 0xfff), (0x2000, 0x2fff), (0x4000, 0x4fff)];
        let many = Err(IovaRangesError::TooMany { capacity: 2 });
        assert_eq!(new::<2>(&apart, PAGE, None), many);
    }

    #[test]
    fn the_first_and_the_last_page_of_the_address_space_can_be_had() {
        let mut iovas = allocator::<2>(&[(0, u64::MAX)], PAGE);
        assert_eq!(iovas.available(), 1 << 64);
        assert_eq!(iovas.largest_free(), u64::MAX);
        let whole = iovas.clone();
        assert_eq!(iovas.allocate(PAGE), Ok(0));
        assert_eq!(iovas.reserve(LAST_PAGE, PAGE), Ok(()));
        assert_eq!(free(&iovas), [(PAGE, LAST_PAGE - 1)]);
        assert_eq!(iovas.allocate(iovas.largest_free()), Ok(PAGE));
        assert_eq!(iovas.available(), 0);
        iovas.free(LAST_PAGE, PAGE).unwrap();
        assert_eq!(iovas.allocate(PAGE), Ok(LAST_PAGE));
        iovas.free(0, PAGE).unwrap();
        iovas.free(LAST_PAGE, PAGE).unwrap();
        iovas.free(PAGE, LAST_PAGE - PAGE).unwrap();
        assert_eq!(iovas, whole);
        // A size of 2^64 - 1 is 2^64 in whole pages.
        assert_eq!(iovas.allocate(u64::MAX), Ok(0));
        assert_eq!(iovas.free(0, u64::MAX), Ok(()));
        assert_eq!(iovas, whole);
    }

    #[test]
    fn an_end_past_the_address_space_is_an_error() {
        let mut iovas = allocator::<2>(&[(0, u64::MAX)], PAGE);
        let past = IovaError::PastEnd {
            start: LAST_PAGE,
            size: 2 * PAGE,
        };
        assert_eq!(iovas.reserve(LAST_PAGE, 2 * PAGE), Err(past));
        assert_eq!(iovas.free(LAST_PAGE, 2 * PAGE), Err(past));
        assert_eq!(
            past.to_string(),
            "0x2000 bytes at IOVA 0xfffffffffffff000 end past 2^64"
        );
    }

    #[test]
    fn sizes_and_addresses_are_multiples_of_the_smallest_page() {
        let mut iovas = allocator::<4>(&[(0x1_0000, 0xf_ffff)], 0x2001_0000);
        assert_eq!(iovas.page_size(), 0x1_0000);
        assert_eq!(iovas.allocate(1), Ok(0x1_0000));
        assert_eq!(iovas.allocate(0x1_0001), Ok(0x2_0000));
        assert_eq!(iovas.allocate_aligned(PAGE, PAGE), Ok(0x4_0000));
        let misaligned = Err(IovaError::Misaligned {
            start: 0x5_1000,
            page: 0x1_0000,
        });
        assert_eq!(iovas.reserve(0x5_1000, PAGE), misaligned);
        iovas.free(0x2_0000, 0x1_0001).unwrap();
        assert_eq!(free(&iovas), [(0x2_0000, 0x3_ffff), (0x5_0000, 0xf_ffff)]);
    }

    #[test]
    fn an_alignment_is_kept_and_the_gap_before_it_used() {
        let mut iovas = allocator::<4>(&[(PAGE, 8 * MIB - 1)], PAGE);
        assert_eq!(iovas.allocate_aligned(PAGE, 2 * MIB), Ok(2 * MIB));
        assert_eq!(iovas.allocate_aligned(PAGE, 1), Ok(PAGE));
        assert_eq!(iovas.allocate_aligned(PAGE, 4 * MIB), Ok(4 * MIB));
        let none = IovaError::NoSpace {
            size: PAGE,
            align: 8 * MIB,
            highest: u64::MAX,
        };
        assert_eq!(iovas.allocate_aligned(PAGE, 8 * MIB), Err(none));
        for align in [0, 3, 0x1001] {
            let refused = Err(IovaError::Alignment { align });
            assert_eq!(iovas.allocate_aligned(PAGE, align), refused);
        }
        assert_eq!(iovas.allocate(0), Err(IovaError::Empty));
    }

    #[test]
    fn large_sizes_get_boundaries_of_large_pages_where_they_are_free() {
        let mut iovas = allocator::<16>(&[(PAGE, 2 * MIB - 1), (3 * MIB, 8 * MIB - 1)], X86);
        // The first range would hold a MiB, and no larger page is as small.
        assert_eq!(iovas.allocate(MIB), Ok(PAGE));
        assert_eq!(iovas.allocate(2 * MIB), Ok(4 * MIB));
        assert_eq!(iovas.allocate(2 * MIB), Ok(6 * MIB));
        assert_eq!(iovas.allocate(MIB), Ok(3 * MIB));

        // Without a free boundary any page will do.
        let mut odd = allocator::<16>(&[(MIB, 4 * MIB - PAGE - 1)], X86);
        assert_eq!(odd.allocate(2 * MIB), Ok(MIB));
        // With 1 GiB out of reach, 2 MiB are the next best.
        let mut next = allocator::<16>(&[(MIB, 2048 * MIB - 1)], X86);
        assert_eq!(next.allocate(1500 * MIB), Ok(2 * MIB));
    }

    #[test]
    fn no_byte_lies_above_the_highest_address() {
        let mut iovas = allocator::<4>(&[(0x0fff_e000, 0xffff_ffff)], PAGE);
        let highest = 0x0fff_ffff;
        assert_eq!(iovas.allocate_up_to(PAGE, 1, highest), Ok(0x0fff_e000));
        let none = |size| {
            Err(IovaError::NoSpace {
                size,
                align: PAGE,
                highest,
            })
        };
        assert_eq!(iovas.allocate_up_to(2 * PAGE, 1, highest), none(2 * PAGE));
        assert_eq!(iovas.allocate_up_to(PAGE, 1, highest), Ok(0x0fff_f000));
        assert_eq!(iovas.allocate_up_to(PAGE, 1, highest), none(PAGE));
        assert_eq!(iovas.allocate_up_to(PAGE, 1, u64::MAX), Ok(0x1000_0000));
        assert_eq!(
            none(PAGE).unwrap_err().to_string(),
            "no 0x1000 bytes aligned to 0x1000 are free up to IOVA 0xfffffff"
        );
    }

    #[test]
    fn what_is_freed_joins_its_neighbours() {
        let whole = allocator::<4>(&[(0, 0x4fff)], PAGE);
        let mut iovas = whole.clone();
        for page in 0..5 {
            assert_eq!(iovas.allocate(PAGE), Ok(page * PAGE));
        }
        iovas.free(0x1000, PAGE).unwrap();
        iovas.free(0x3000, PAGE).unwrap();
        assert_eq!(free(&iovas), [(0x1000, 0x1fff), (0x3000, 0x3fff)]);
        // With the one before, with the one behind, with both.
        iovas.free(0x4000, PAGE).unwrap();
        assert_eq!(free(&iovas), [(0x1000, 0x1fff), (0x3000, 0x4fff)]);
        iovas.free(0, PAGE).unwrap();
        assert_eq!(free(&iovas), [(0, 0x1fff), (0x3000, 0x4fff)]);
        iovas.free(0x2000, PAGE).unwrap();
        assert_eq!(iovas, whole);
    }

    #[test]
    fn ranges_of_the_iommu_stay_apart() {
        let whole = allocator::<4>(&[(0, 0x1fff), (0x3000, 0x4fff)], PAGE);
        let mut iovas = whole.clone();
        let outside = |start, size| Err(IovaError::OutOfRange { start, size });
        assert_eq!(iovas.reserve(0x1000, 0x3000), outside(0x1000, 0x3000));
        assert_eq!(iovas.reserve(0x2000, PAGE), outside(0x2000, PAGE));
        assert_eq!(iovas.free(0x5000, PAGE), outside(0x5000, PAGE));
        assert_eq!(iovas, whole);
        assert_eq!(iovas.reserve(0, 0x2000), Ok(()));
        assert_eq!(iovas.reserve(0x3000, 0x2000), Ok(()));
        assert_eq!(iovas.free(0, 0x5000), outside(0, 0x5000));
    }

    #[test]
    fn nothing_is_taken_or_freed_twice() {
        let mut iovas = allocator::<4>(&[(0, 0x7fff)], PAGE);
        iovas.reserve(0x2000, 0x2000).unwrap();
        let before = iovas.clone();
        for (start, size) in [(0x2000, 0x2000), (0x1000, 0x2000), (0x3000, 0x2000)] {
            let taken = Err(IovaError::Taken { start, size });
            assert_eq!(iovas.reserve(start, size), taken);
        }
        for (start, size) in [(0x1000, 0x2000), (0x3000, 0x2000), (0, 0x8000), (0, 1)] {
            let not_taken = Err(IovaError::NotTaken { start, size });
            assert_eq!(iovas.free(start, size), not_taken);
        }
        assert_eq!(iovas, before);
    }

    #[test]
    fn a_full_list_refuses_what_would_split_and_takes_what_would_not() {
        let mut iovas = allocator::<2>(&[(0x1000, 0x1_2fff)], PAGE);
        let fragmented = Err(IovaError::Fragmented { capacity: 2 });
        iovas.reserve(0x5000, PAGE).unwrap();
        let before = iovas.clone();
        assert_eq!(iovas.reserve(0x3000, PAGE), fragmented);
        assert_eq!(
            iovas.allocate_aligned(PAGE, 0x8000),
            fragmented.map(|()| 0),
            "0x8000 and 0x10000 are free, each in the midst of a range"
        );
        assert_eq!(iovas, before);
        // The end of a range is as good as its start.
        assert_eq!(iovas.allocate_aligned(PAGE, 0x2000), Ok(0x4000));
        assert_eq!(iovas.allocate_aligned(PAGE, 0x2000), Ok(0x6000));
        assert_eq!(free(&iovas), [(0x1000, 0x3fff), (0x7000, 0x1_2fff)]);
    }

    #[test]
    fn a_free_that_needs_a_range_too_many_can_be_repeated() {
        let whole = allocator::<1>(&[(0, 0x3fff)], PAGE);
        let mut iovas = whole.clone();
        for _ in 0..3 {
            iovas.allocate(PAGE).unwrap();
        }
        let before = iovas.clone();
        let fragmented = Err(IovaError::Fragmented { capacity: 1 });
        assert_eq!(iovas.free(0x1000, PAGE), fragmented);
        assert_eq!(iovas, before);
        iovas.free(0x2000, PAGE).unwrap();
        iovas.free(0x1000, PAGE).unwrap();
        iovas.free(0, PAGE).unwrap();
        assert_eq!(iovas, whole);
    }

    #[test]
    fn no_more_mappings_are_made_than_the_iommu_makes() {
        let mut iovas = new::<4>(&[(0, 0xffff)], PAGE, Some(2)).unwrap();
        let limit = IovaError::LimitReached { avail: 2 };
        assert_eq!(iovas.allocate(PAGE), Ok(0));
        assert_eq!(iovas.reserve(0x4000, 0x2000), Ok(()));
        let before = iovas.clone();
        assert_eq!(iovas.allocate(PAGE), Err(limit));
        assert_eq!(iovas.reserve(0x8000, PAGE), Err(limit));
        assert_eq!(iovas, before);
        assert_eq!(
            limit.to_string(),
            "all 2 mappings that the IOMMU makes are in use"
        );
        // Pieces are no mappings.
        iovas.free(0x4000, PAGE).unwrap();
        iovas.free(0x5000, PAGE).unwrap();
        assert_eq!(iovas.mappings(), 1);
        iovas.free(0, PAGE).unwrap();
        assert_eq!(iovas.mappings(), 0);

        let mut unlimited = new::<4>(&[(0, 0xffff)], PAGE, Some(u32::MAX)).unwrap();
        assert_eq!(unlimited.allocate(PAGE), Ok(0));
        let mut none = new::<4>(&[(0, 0xffff)], PAGE, Some(0)).unwrap();
        assert_eq!(
            none.allocate(PAGE),
            Err(IovaError::LimitReached { avail: 0 })
        );
    }
}
