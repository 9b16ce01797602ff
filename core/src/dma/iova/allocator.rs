//! An allocator of IOVAs.

use core::fmt;

use zerocopy::FromZeros;

use super::space::Space;
use super::tree::Node;
use super::{IovaError, IovaRangesError};
use crate::wire::abi::IovaRange;

/// The IOVAs of one I/O address space: which are free, and which are allocated.
///
/// # Capacity
/// `N` is how many allocations and usable ranges there can be together: `N - 2` allocations with
/// the two ranges that VT-d reports. It does not matter how large they are, where they lie, and
/// in which order they are freed. An allocation that there is no room for is refused
/// ([`IovaError::NoRoom`]), and freeing never is. [`Self::keep_back`] in the middle of a range
/// makes two of it.
///
/// The size is about `40 * N` bytes. The code is the same for every `N`, but for a few lines. One
/// that is too large for a stack is made in place: a static by [`Self::empty`], or a box by
/// `new_box_zeroed` of the trait [`FromZeros`] of the crate `zerocopy`; then [`Self::init`].
///
/// # Costs
/// Allocating and freeing take time logarithmic in the number of allocations, in any order. With
/// 65,000 of them these are some 450 instructions of x86-64, half of which look for the address.
/// Where an alignment of more than a page is asked for and the lowest free ranges do not have it,
/// they are 950. Only where no free range is large enough for any alignment, all that have the
/// size are tried.
///
/// # Places
/// - An allocation lies at the lowest address that has room for it.
/// - If its size is 2 MiB, 1 GiB, or another of the IOMMU's page sizes, or more, it lies at a
///   multiple of the largest of these that is to be had, so that the IOMMU maps it with fewer
///   entries of its tables. This goes before the lowest address.
/// - At an alignment of more than a page, it lies at the lowest address in the four lowest free
///   ranges that have the size. If they have none so aligned, it lies in the lowest range that is
///   large enough for any alignment, and if there is no such range, at the lowest address in any.
///   The same goes for sizes of 2048 pages and more.
/// - The first page, at address 0, is only for who asks for it by [`Self::reserve`], as for a
///   guest's memory: the second PRP entry of an NVMe command with address 0 is none, and a virtio
///   ring at 0 is not set up in QEMU's eyes. Where the page behind it can't be used, it can't
///   either.
///
/// Sizes are rounded up to whole pages everywhere: what was allocated with a size is freed with
/// the same.
#[derive(Clone, FromZeros)]
pub struct IovaAllocator<const N: usize>(Space<[Node; N]>);

impl<const N: usize> IovaAllocator<N> {
    /// Creates an allocator of an IOMMU's ranges, in which nothing is mapped.
    ///
    /// - `ranges`: [`IommuInfo::iova_ranges`](crate::wire::info::IommuInfo::iova_ranges), in any order.
    ///   What overlaps or touches becomes one range, and what does not fill a page is left out.
    /// - `page_sizes`: [`IommuInfo::iova_pgsizes`](crate::wire::info::IommuInfo::iova_pgsizes), bit n
    ///   for 2^n bytes. Addresses and sizes are multiples of the smallest.
    /// - `avail`: [`IommuInfo::dma_avail`](crate::wire::info::IommuInfo::dma_avail), how many mappings
    ///   can be made. There is no limit with `None`, and none with `u32::MAX`, which is what
    ///   iommufd reports.
    ///
    /// The ranges are gone through once for each of them.
    ///
    /// # Errors
    /// Page sizes that are none, a range that ends before it starts, or more ranges than `N`.
    pub fn new<R>(ranges: R, page_sizes: u64, avail: Option<u32>) -> Result<Self, IovaRangesError>
    where
        R: IntoIterator<Item = IovaRange, IntoIter: Clone>,
    {
        let mut iovas = Self::empty();
        iovas.init(ranges, page_sizes, avail)?;
        Ok(iovas)
    }

    /// Creates an allocator without addresses, for one that is too large for a stack.
    /// [`Self::init`] tells it some.
    ///
    /// All its bytes are zero, so that a static of it does not make a program larger.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Space::new())
    }

    /// Makes it what [`Self::new`] returns, in place. What was allocated is forgotten.
    ///
    /// # Errors
    /// As [`Self::new`]; there are no addresses then.
    pub fn init<R>(
        &mut self,
        ranges: R,
        page_sizes: u64,
        avail: Option<u32>,
    ) -> Result<(), IovaRangesError>
    where
        R: IntoIterator<Item = IovaRange, IntoIter: Clone>,
    {
        self.space_mut().init(ranges.into_iter(), page_sizes, avail)
    }

    /// Keeps back what is not in `ranges`, which are those of [`Self::new`] after another device
    /// has joined the address space. What was not usable before stays so.
    ///
    /// # Errors
    /// A range that ends before it starts, an allocation that is not within the ranges, or no
    /// room for them. Nothing is changed then.
    pub fn narrow<R>(&mut self, ranges: R) -> Result<(), IovaRangesError>
    where
        R: IntoIterator<Item = IovaRange, IntoIter: Clone>,
    {
        self.space_mut().narrow(ranges.into_iter())
    }

    /// Keeps back the pages that hold `size` bytes at `start`: they are never given out. Those that
    /// can't be mapped anyway may be among them.
    ///
    /// # Errors
    /// A size of 0, an end past the address space, an allocation that has some of the pages, or
    /// no room for another range. Nothing is changed then.
    pub fn keep_back(&mut self, start: u64, size: u64) -> Result<(), IovaError> {
        self.space_mut().keep_back(start, size)
    }

    /// Allocates `size` bytes for a mapping and returns the first address. [Where](Self#places)
    /// it is.
    ///
    /// # Errors
    /// A size of 0, no free place, no room for another allocation, or no more mappings.
    #[inline]
    pub fn allocate(&mut self, size: u64) -> Result<u64, IovaError> {
        self.allocate_up_to(size, 1, u64::MAX)
    }

    /// Allocates as [`Self::allocate`] does, at a multiple of `align` bytes, a power of two.
    ///
    /// # Errors
    /// As [`Self::allocate`], and an alignment that is not a power of two.
    #[inline]
    pub fn allocate_aligned(&mut self, size: u64, align: u64) -> Result<u64, IovaError> {
        self.allocate_up_to(size, align, u64::MAX)
    }

    /// Allocates as [`Self::allocate_aligned`] does, with no byte above `highest`. That is the DMA
    /// mask of a device that does not drive all address lines.
    ///
    /// # Errors
    /// As [`Self::allocate_aligned`].
    #[inline]
    pub fn allocate_up_to(
        &mut self,
        size: u64,
        align: u64,
        highest: u64,
    ) -> Result<u64, IovaError> {
        self.space_mut().allocate(size, align, highest)
    }

    /// Allocates `size` bytes at `start`, for a mapping whose place is given.
    ///
    /// # Errors
    /// A size of 0, a `start` off page boundaries, an end past the address space, addresses that
    /// the IOMMU can't map, that are kept back or that are allocated already, no room for another
    /// allocation, or no more mappings.
    #[inline]
    pub fn reserve(&mut self, start: u64, size: u64) -> Result<(), IovaError> {
        self.space_mut().reserve(start, size)
    }

    /// Gives back the allocation of `size` bytes at `start`, once its mapping is undone. It becomes
    /// one range with what is free before and behind it.
    ///
    /// # Errors
    /// There is no such allocation: nothing is allocated at `start`, it has another size, or it
    /// does not start there. Nothing is changed then.
    #[inline]
    pub fn free(&mut self, start: u64, size: u64) -> Result<(), IovaError> {
        self.space_mut().free(start, size)
    }

    /// Returns the smallest page in bytes: every address and every size is a multiple of it. 1 as
    /// long as there are [no addresses](Self::empty).
    #[must_use]
    pub const fn page_size(&self) -> u64 {
        self.space().page_size()
    }

    /// Returns how many allocations there are.
    #[must_use]
    pub const fn mappings(&self) -> u64 {
        self.space().mappings()
    }

    /// Returns how many bytes are free. O(N).
    #[must_use]
    pub fn available(&self) -> u64 {
        self.free_ranges().map(size).fold(0, u64::saturating_add)
    }

    /// Returns the largest size in bytes for which there is a place. O(N).
    #[must_use]
    pub fn largest_free(&self) -> u64 {
        self.free_ranges().map(size).max().unwrap_or(0)
    }

    /// Returns the free ranges in ascending order, never two that touch. The end of a range belongs
    /// to it. The first page is in none.
    pub fn free_ranges(&self) -> impl Iterator<Item = IovaRange> + '_ {
        self.space().gaps()
    }

    /// Returns the usable ranges in whole pages, allocated or not, as [`Self::free_ranges`]. They
    /// are the IOMMU's without what is kept back, and with the first page where it is reserved.
    /// O(N).
    pub fn ranges(&self) -> impl Iterator<Item = IovaRange> + '_ {
        self.space().usable()
    }

    /// Panics where the tree is not as it must be.
    #[cfg(test)]
    pub(super) fn check(&self) {
        self.space().check();
    }

    /// Returns the part that does not depend on `N`.
    const fn space(&self) -> &Space<[Node]> {
        &self.0
    }

    const fn space_mut(&mut self) -> &mut Space<[Node]> {
        &mut self.0
    }
}

/// Returns how many bytes a free range has. It is not all 2^64: page 0 is in none.
const fn size(range: IovaRange) -> u64 {
    range.end.wrapping_sub(range.start).wrapping_add(1)
}

/// Equal allocators have the same limits, the same addresses and the same allocations.
impl<const N: usize> PartialEq for IovaAllocator<N> {
    fn eq(&self, other: &Self) -> bool {
        self.space() == other.space()
    }
}

impl<const N: usize> Eq for IovaAllocator<N> {}

impl<const N: usize> fmt::Debug for IovaAllocator<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IovaAllocator")
            .field("page_size", &self.page_size())
            .field("mappings", &self.mappings())
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "defmt")]
impl<const N: usize> defmt::Format for IovaAllocator<N> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "IovaAllocator({} mappings)", self.mappings());
    }
}
