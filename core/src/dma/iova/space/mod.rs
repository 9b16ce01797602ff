//! What an allocator does, whatever its capacity.

mod walls;

use zerocopy::FromZeros;

use super::IovaError;
use super::class::{Class, Pages};
use super::place::Wanted;
use super::stretches::pages_up_to;
use super::tree::{Kind, Node, NodeId, TOP, Tree};
use crate::wire::abi::IovaRange;

/// 2 MiB and 1 GiB, which the tables of x86 IOMMUs, and those of Arm with pages of 4 KiB, map by
/// one entry. iommufd does not tell.
const LARGE_PAGES: u64 = 0x4020_0000;

/// The lowest page that is given out. Page 0 only whoever asks for it has.
const FIRST: Pages = 1;

/// An allocator. Only its array of nodes depends on the capacity.
///
/// All zero has no addresses.
#[derive(Clone, FromZeros)]
pub(super) struct Space<A: ?Sized> {
    page_sizes: u64,
    mappings: u64,
    /// A page has 2^shift bytes.
    shift: u32,
    /// Whether the IOMMU makes `avail` mappings at most.
    is_limited: bool,
    /// Whether the IOMMU maps page 0 and it was not kept back: it is in the tree only while it is
    /// reserved.
    has_first_page: bool,
    avail: u32,
    tree: Tree<A>,
}

impl<const N: usize> Space<[Node; N]> {
    /// Creates a space without addresses.
    pub(super) const fn new() -> Self {
        Self {
            page_sizes: 0,
            mappings: 0,
            shift: 0,
            is_limited: false,
            has_first_page: false,
            avail: 0,
            tree: Tree::new(),
        }
    }
}

impl Space<[Node]> {
    pub(super) fn allocate(
        &mut self,
        size: u64,
        align: u64,
        highest: u64,
    ) -> Result<u64, IovaError> {
        let pages = self.pages(size)?;
        if !align.is_power_of_two() {
            return Err(IovaError::Alignment { align });
        }
        self.check_room()?;
        let align = align.max(self.page_size());
        let wanted = Wanted {
            size: pages,
            align: align.wrapping_shr(self.shift),
            limit: pages_up_to(highest, self.shift),
        };
        let page_sizes = (self.page_sizes | LARGE_PAGES).wrapping_shr(self.shift);
        let (above, start) = wanted
            .place(&self.tree, page_sizes)
            .ok_or(IovaError::NoSpace {
                size,
                align,
                highest,
            })?;
        self.take(above, start, start.wrapping_add(pages))?;
        Ok(self.address(start))
    }

    pub(super) fn reserve(&mut self, start: u64, size: u64) -> Result<(), IovaError> {
        let (from, to) = self.stretch(start, size)?;
        let above = self.gap_with(from, to).map_err(|kind| match kind {
            Kind::Wall => IovaError::OutOfRange { start, size },
            Kind::Allocation => IovaError::Taken { start, size },
        })?;
        self.check_room()?;
        self.take(above, from, to)
    }

    pub(super) fn free(&mut self, start: u64, size: u64) -> Result<(), IovaError> {
        let (from, to) = self.stretch(start, size)?;
        let tree = &mut self.tree;
        let (id, above) = tree
            .around(from)
            .filter(|&(id, above)| {
                tree.kind(id) == Kind::Allocation
                    && tree.start(id) == from
                    && tree.gap_start(above) == to
            })
            .ok_or(IovaError::NotTaken { start, size })?;
        let gap_start = tree.gap_start(id).max(FIRST);
        let gap = tree.start(above).wrapping_sub(gap_start);
        tree.remove(id, above, gap);
        self.mappings = self.mappings.wrapping_sub(1);
        if to == FIRST && gap == 0 {
            self.join_lowest();
        }
        Ok(())
    }

    pub(super) const fn page_size(&self) -> u64 {
        1_u64.wrapping_shl(self.shift)
    }

    pub(super) const fn mappings(&self) -> u64 {
        self.mappings
    }

    /// Returns the addresses of each gap.
    pub(super) fn gaps(&self) -> impl Iterator<Item = IovaRange> + '_ {
        let gaps = self.tree.ids(Class::PAGE);
        gaps.map(|id| self.range(self.tree.gap_start(id), self.tree.start(id)))
    }

    /// Returns the addresses from each wall to the next.
    pub(super) fn usable(&self) -> impl Iterator<Item = IovaRange> + '_ {
        let mut start = None;
        self.tree.ids(Class::ANY).filter_map(move |id| {
            let first = *start.get_or_insert(self.tree.gap_start(id));
            if self.tree.kind(id) == Kind::Allocation {
                return None;
            }
            start = None;
            let end = self.tree.start(id);
            (first < end).then(|| self.range(first, end))
        })
    }

    /// Panics where the tree is not as it must be.
    #[cfg(test)]
    pub(super) fn check(&self) {
        self.tree.check();
    }

    /// Returns the address of a page: below 2^64 for all but the end of the address space.
    const fn address(&self, page: Pages) -> u64 {
        page.wrapping_shl(self.shift)
    }

    /// Returns the addresses of the pages from `start` to before `end`.
    const fn range(&self, start: Pages, end: Pages) -> IovaRange {
        IovaRange {
            start: self.address(start),
            end: self.address(end).wrapping_sub(1),
        }
    }

    /// Returns how many pages hold `size` bytes.
    fn pages(&self, size: u64) -> Result<Pages, IovaError> {
        let last = size.checked_sub(1).ok_or(IovaError::Empty)?;
        Ok(last.wrapping_shr(self.shift).saturating_add(1))
    }

    /// Returns the first page of `size` bytes at `start`, and the first one behind them.
    fn stretch(&self, start: u64, size: u64) -> Result<(Pages, Pages), IovaError> {
        let last = size.checked_sub(1).ok_or(IovaError::Empty)?;
        let page = self.page_size();
        if start & page.wrapping_sub(1) != 0 {
            return Err(IovaError::Misaligned { start, page });
        }
        let last = start
            .checked_add(last)
            .ok_or(IovaError::PastEnd { start, size })?;
        let from = start.wrapping_shr(self.shift);
        Ok((from, last.wrapping_shr(self.shift).saturating_add(1)))
    }

    /// Returns the node above the gap that has all pages from `from` to before `to`, page 0 aside.
    /// Otherwise tells why the first page that is not free is not.
    fn gap_with(&self, from: Pages, to: Pages) -> Result<NodeId, Kind> {
        let (below, above) = self.tree.around(from).ok_or(Kind::Wall)?;
        let gap_start = self.tree.gap_start(above);
        let is_first = below == TOP && from < FIRST && gap_start == FIRST;
        if from < gap_start && !(is_first && self.has_first_page) {
            Err(self.tree.kind(below))
        } else if self.tree.start(above) < to {
            Err(self.tree.kind(above))
        } else {
            Ok(above)
        }
    }

    /// Tells whether there can be another allocation.
    fn check_room(&self) -> Result<(), IovaError> {
        let avail = self.avail;
        if self.is_limited && self.mappings >= avail.into() {
            Err(IovaError::LimitReached { avail })
        } else if self.tree.room() == 0 {
            Err(self.no_room())
        } else {
            Ok(())
        }
    }

    const fn no_room(&self) -> IovaError {
        IovaError::NoRoom {
            capacity: self.tree.capacity(),
        }
    }

    /// Takes the pages from `start` to before `end` out of the gap below `above`.
    fn take(&mut self, above: NodeId, start: Pages, end: Pages) -> Result<(), IovaError> {
        let below = start.saturating_sub(self.tree.gap_start(above));
        let rest = self.tree.start(above).wrapping_sub(end);
        self.tree
            .insert(above, start, Kind::Allocation, (below, rest))
            .map_err(|_| self.no_room())?;
        self.mappings = self.mappings.wrapping_add(1);
        Ok(())
    }
}

impl PartialEq for Space<[Node]> {
    fn eq(&self, other: &Self) -> bool {
        let told = |space: &Self| {
            let limit = space.is_limited.then_some(space.avail);
            let has_first_page = space.has_first_page;
            (space.page_sizes, limit, space.mappings, has_first_page)
        };
        told(self) == told(other) && self.tree.stretches().eq(other.tree.stretches())
    }
}
