//! The walls: what the IOMMU can't map, and what is kept back.

use super::{FIRST, Kind, Node, NodeId, Pages, Space};
use crate::dma::iova::stretches::{Holes, pages_up_to};
use crate::dma::iova::tree::{Full, TOP};
use crate::dma::iova::{IovaError, IovaRangesError};
use crate::wire::abi::IovaRange;

/// Smaller pages exist on no machine that Linux runs on.
const MIN_PAGE: u64 = 0x1000;

impl Space<[Node]> {
    /// Starts anew. On error there are no addresses.
    pub(in crate::dma::iova) fn init<R>(
        &mut self,
        ranges: R,
        page_sizes: u64,
        avail: Option<u32>,
    ) -> Result<(), IovaRangesError>
    where
        R: Iterator<Item = IovaRange> + Clone,
    {
        self.clear();
        let page = page_sizes & page_sizes.wrapping_neg();
        if page < MIN_PAGE {
            return Err(IovaRangesError::PageSizes { mask: page_sizes });
        }
        self.page_sizes = page_sizes;
        self.shift = page.trailing_zeros();
        self.is_limited = avail.is_some_and(|avail| avail != u32::MAX);
        self.avail = avail.unwrap_or_default();
        self.has_first_page = true;
        let end = pages_up_to(u64::MAX, self.shift);
        let started = self.tree.reset(FIRST, end);
        let started = started.map_err(|Full| self.too_many());
        let narrowed = started.and_then(|()| self.narrow(ranges));
        if narrowed.is_err() {
            self.clear();
        }
        narrowed
    }

    /// Keeps back all that is in none of the ranges.
    pub(in crate::dma::iova) fn narrow<R>(&mut self, ranges: R) -> Result<(), IovaRangesError>
    where
        R: Iterator<Item = IovaRange> + Clone,
    {
        for (index, IovaRange { start, end }) in ranges.clone().enumerate() {
            if end < start {
                return Err(IovaRangesError::Inverted { index, start, end });
            }
        }
        let holes = Holes::new(ranges, self.shift);
        let mut walls: usize = 0;
        for (from, to) in holes.clone() {
            let is_new = self.check_hole(from, to).map_err(|id| self.in_use(id))?;
            walls = walls.saturating_add(is_new.into());
        }
        if walls > self.tree.room() {
            return Err(self.too_many());
        }
        for (from, to) in holes {
            self.wall_off(from, to).map_err(|Full| self.too_many())?;
        }
        Ok(())
    }

    pub(in crate::dma::iova) fn keep_back(
        &mut self,
        start: u64,
        size: u64,
    ) -> Result<(), IovaError> {
        let last = size.checked_sub(1).ok_or(IovaError::Empty)?;
        let last = start
            .checked_add(last)
            .ok_or(IovaError::PastEnd { start, size })?;
        let from = start.wrapping_shr(self.shift);
        let to = last.wrapping_shr(self.shift).saturating_add(1);
        let is_new = self
            .check_hole(from, to)
            .map_err(|_| IovaError::Taken { start, size })?;
        if is_new && self.tree.room() == 0 {
            return Err(self.no_room());
        }
        self.wall_off(from, to).map_err(|Full| self.no_room())
    }

    fn clear(&mut self) {
        // An array without room for a node has no addresses anyway.
        let _ = self.tree.reset(0, 0);
        self.mappings = 0;
        self.has_first_page = false;
    }

    /// Tells whether it takes another wall to keep back the pages from `from` to before `to`. An
    /// error is the lowest allocation that has some of them.
    fn check_hole(&self, from: Pages, to: Pages) -> Result<bool, NodeId> {
        let tree = &self.tree;
        let Some((below, above)) = tree.around(from).filter(|_| from < to) else {
            return Ok(false);
        };
        let gap_start = tree.gap_start(above);
        let is_behind_allocation = tree.kind(below) == Kind::Allocation;
        if is_behind_allocation && from < gap_start {
            return Err(below);
        }
        let mut next = Some(above);
        while let Some(id) = next.filter(|&id| tree.start(id) < to) {
            if tree.kind(id) == Kind::Allocation {
                return Err(id);
            }
            next = tree.next(id);
        }
        let begins_here = gap_start < from || (gap_start == from && is_behind_allocation);
        let ends_here = to < tree.start(above) || tree.kind(above) == Kind::Allocation;
        Ok(begins_here && ends_here)
    }

    /// Keeps back the pages from `from` to before `to`, of which none is allocated.
    fn wall_off(&mut self, from: Pages, to: Pages) -> Result<(), Full> {
        self.has_first_page &= to <= from || FIRST <= from;
        let mut page = from;
        while let Some((below, above)) = self.tree.around(page).filter(|_| page < to) {
            page = self.tree.start(above);
            let gap_start = self.tree.gap_start(above);
            let (wall, end) = (from.max(gap_start), to.min(page));
            if wall < end {
                let gaps = (wall.wrapping_sub(gap_start), page.wrapping_sub(end));
                self.wall_off_between(below, above, wall, gaps)?;
            }
        }
        Ok(())
    }

    /// Makes a wall in the gap between two nodes, from the page `wall` on. Of the gap, `before` pages
    /// remain before it and `rest` behind it.
    fn wall_off_between(
        &mut self,
        below: NodeId,
        above: NodeId,
        wall: Pages,
        (before, rest): (Pages, Pages),
    ) -> Result<(), Full> {
        let tree = &mut self.tree;
        // With nothing between two walls they are one.
        let joins_below = before == 0 && tree.kind(below) == Kind::Wall;
        let joins_above = rest == 0 && tree.kind(above) == Kind::Wall;
        match (joins_below, joins_above) {
            (false, false) => return tree.insert(above, wall, Kind::Wall, (before, rest)),
            (true, false) => tree.set_gap(above, rest),
            (false, true) => {
                tree.set_start(above, wall);
                tree.set_gap(above, before);
            }
            (true, true) => {
                tree.set_gap(above, 0);
                if below == TOP {
                    self.drop_lowest(above);
                } else {
                    tree.set_start(above, tree.start(below));
                    tree.remove(below, above, tree.gap(below));
                }
            }
        }
        Ok(())
    }

    /// Drops the lowest node where it is a wall, once nothing is below it.
    pub(super) fn join_lowest(&mut self) {
        let lowest = self.tree.around(0).map(|(_, above)| above);
        if let Some(wall) = lowest.filter(|&id| self.tree.kind(id) == Kind::Wall) {
            self.drop_lowest(wall);
        }
    }

    /// Drops the lowest wall, which has no gap: nothing is below the one that is lowest then.
    fn drop_lowest(&mut self, wall: NodeId) {
        let tree = &mut self.tree;
        match tree.next(wall) {
            Some(next) => tree.remove(wall, next, tree.gap(next)),
            None => tree.set_start(TOP, 0),
        }
    }

    fn in_use(&self, id: NodeId) -> IovaRangesError {
        let start = self.tree.start(id);
        let next = self.tree.next(id);
        let end = next.map_or(start, |next| self.tree.gap_start(next));
        IovaRangesError::InUse {
            start: self.address(start),
            size: self.address(end.saturating_sub(start)),
        }
    }

    const fn too_many(&self) -> IovaRangesError {
        IovaRangesError::TooMany {
            capacity: self.tree.capacity(),
        }
    }
}
