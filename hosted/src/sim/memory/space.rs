//! An I/O address space: what a device reaches at which address.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::vec;
use std::vec::Vec;

use vfio_core::sys::Errno;
use vfio_core::wire::abi::IovaRange;

use crate::model::{EVERYTHING, FaultReason, Refusal};
use crate::sim::pages::{PAGE, Pages};

/// An address space that devices and whoever maps memory in it share.
pub(in crate::sim) type SharedSpace = Arc<Mutex<Space>>;

/// What is mapped, and what may be.
pub(in crate::sim) struct Space {
    /// By first address; they do not overlap.
    areas: BTreeMap<u64, Area>,
    /// The addresses that can be mapped: disjoint, in order.
    pub(super) allowed: Vec<IovaRange>,
    /// The size of the smallest page, in bytes.
    pub(super) page: u64,
}

/// Memory that is mapped.
#[derive(Clone)]
pub(super) struct Area {
    /// The last address, which belongs to it.
    pub(super) last: u64,
    pub(super) memory: Pages,
    /// Where in the memory it starts, in bytes.
    pub(super) offset: usize,
    pub(super) readable: bool,
    pub(super) writable: bool,
}

/// A part of memory that a transfer touches.
pub(in crate::sim) struct Piece {
    pub(in crate::sim) memory: Pages,
    pub(in crate::sim) offset: usize,
    pub(in crate::sim) len: usize,
}

/// An address space that can be mapped anywhere, to the byte.
impl Default for Space {
    fn default() -> Self {
        Self::new(vec![EVERYTHING], 1)
    }
}

impl Space {
    pub(super) fn new(allowed: Vec<IovaRange>, page: u64) -> Self {
        Self {
            areas: BTreeMap::new(),
            allowed,
            page,
        }
    }

    pub(super) fn shared(self) -> SharedSpace {
        Arc::new(Mutex::new(self))
    }

    /// Returns how many areas there are.
    pub(in crate::sim) fn len(&self) -> usize {
        self.areas.len()
    }

    /// Tells whether `start` to `last` can be mapped.
    pub(super) fn allows(&self, start: u64, last: u64) -> bool {
        let within = |range: &IovaRange| range.start <= start && last <= range.end;
        self.allowed.iter().any(within)
    }

    /// Tells whether all that is mapped lies in `ranges`.
    pub(super) fn fits(&self, ranges: &[IovaRange]) -> bool {
        self.areas.iter().all(|(start, area)| {
            let within = |range: &IovaRange| range.start <= *start && area.last <= range.end;
            ranges.iter().any(within)
        })
    }

    /// Tells whether all that is mapped is whole pages of `page` bytes.
    pub(super) fn is_aligned(&self, page: u64) -> bool {
        let bits = page.wrapping_sub(1);
        self.areas.iter().all(|(start, area)| {
            let offset = u64::try_from(area.offset).unwrap_or(u64::MAX);
            (start | offset | area.last.wrapping_add(1)) & bits == 0
        })
    }

    /// Adds an area at `start`, where nothing is mapped.
    pub(super) fn insert(&mut self, start: u64, area: Area) {
        self.areas.insert(start, area);
    }

    /// Returns the first address and the last of the areas that meet `start` to `last`, in order.
    pub(super) fn overlapping(&self, start: u64, last: u64) -> Vec<(u64, u64)> {
        if start > last {
            return Vec::new();
        }
        let before = self.areas.range(..start).next_back();
        let before = before.filter(|(_, area)| area.last >= start);
        before
            .into_iter()
            .chain(self.areas.range(start..=last))
            .map(|(first, area)| (*first, area.last))
            .collect()
    }

    /// Takes the area that begins at `start` away, and tells its size in bytes, modulo 2^64.
    pub(super) fn remove(&mut self, start: u64) -> u64 {
        let area = self.areas.remove(&start);
        area.map_or(0, |area| area.last.saturating_sub(start).wrapping_add(1))
    }

    /// Cuts the area around `at` in two, the second of which begins there.
    pub(super) fn cut(&mut self, at: u64) {
        let Some((start, area)) = self.areas.range_mut(..at).next_back() else {
            return;
        };
        let (Some(before), true) = (at.checked_sub(1), area.last >= at) else {
            return;
        };
        let Ok(first_len) = usize::try_from(at.saturating_sub(*start)) else {
            return;
        };
        let second = Area {
            offset: area.offset.saturating_add(first_len),
            ..area.clone()
        };
        area.last = before;
        self.areas.insert(at, second);
    }

    /// Finds the lowest free address, but 0, for `len` bytes. It is a multiple of `align`, a power
    /// of two.
    pub(super) fn find(&self, len: u64, align: u64) -> Option<u64> {
        let page = u64::try_from(PAGE).ok()?;
        for range in &self.allowed {
            let end = range.end.min(u64::MAX.checked_sub(page)?);
            let mut start = range.start.max(page).checked_next_multiple_of(align)?;
            while let Some(last) = start.checked_add(len.checked_sub(1)?)
                && last <= end
            {
                match self.overlapping(start, last).last() {
                    None => return Some(start),
                    Some((_, taken)) => {
                        let Some(next) = taken.checked_add(1) else {
                            break;
                        };
                        let Some(next) = next.checked_next_multiple_of(align) else {
                            break;
                        };
                        start = next;
                    }
                }
            }
        }
        None
    }

    /// Returns the memory behind the `len` bytes at `iova`.
    pub(in crate::sim) fn translate(
        &self,
        iova: u64,
        len: usize,
        is_write: bool,
    ) -> Result<Vec<Piece>, Refusal> {
        let mut pieces = vec![];
        let mut at = iova;
        let mut left = len;
        while left > 0 {
            let piece = self.piece(at, left, is_write)?;
            left = left.saturating_sub(piece.len);
            if left > 0 {
                let len = u64::try_from(piece.len).ok();
                let next = len.and_then(|len| at.checked_add(len));
                // No address follows the last one.
                at = next.ok_or(Refusal {
                    iova: u64::MAX,
                    reason: FaultReason::Unmapped,
                })?;
            }
            pieces.push(piece);
        }
        Ok(pieces)
    }

    /// Returns the memory behind the first of `len` bytes at `at`, as far as one area reaches.
    fn piece(&self, at: u64, len: usize, is_write: bool) -> Result<Piece, Refusal> {
        let refusal = |reason| Refusal { iova: at, reason };
        let unmapped = refusal(FaultReason::Unmapped);
        let (start, area) = self.areas.range(..=at).next_back().ok_or(unmapped)?;
        let rest = area.last.checked_sub(at).ok_or(unmapped)?;
        let is_permitted = if is_write {
            area.writable
        } else {
            area.readable
        };
        if !is_permitted {
            return Err(refusal(FaultReason::Forbidden));
        }
        let rest = usize::try_from(rest)
            .unwrap_or(usize::MAX)
            .saturating_add(1);
        let inside = usize::try_from(at.saturating_sub(*start)).map_err(|_| unmapped)?;
        Ok(Piece {
            memory: area.memory.clone(),
            offset: area.offset.saturating_add(inside),
            len: len.min(rest),
        })
    }
}

/// Returns how many bytes a range of memory has.
pub(in crate::sim) fn length(range: &Range<usize>) -> Result<u64, Errno> {
    let length = range.end.checked_sub(range.start).ok_or(Errno::EINVAL)?;
    u64::try_from(length).map_err(|_| Errno::EINVAL)
}

/// Returns the last of `size` addresses, which are not none.
pub(super) fn last_of(start: u64, size: u64) -> Option<u64> {
    start.checked_add(size.checked_sub(1)?)
}

/// Returns the addresses that are in both.
pub(super) fn intersection(one: &[IovaRange], other: &[IovaRange]) -> Vec<IovaRange> {
    let mut both: Vec<_> = one
        .iter()
        .flat_map(|one| {
            other.iter().map(|other| IovaRange {
                start: one.start.max(other.start),
                end: one.end.min(other.end),
            })
        })
        .filter(|range| range.start <= range.end)
        .collect();
    both.sort_by_key(|range| range.start);
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(last: u64) -> Area {
        Area {
            last,
            memory: Pages::zeroed(1).unwrap(),
            offset: 0,
            readable: true,
            writable: true,
        }
    }

    fn everything() -> Space {
        Space::new(vec![EVERYTHING], 1)
    }

    #[test]
    fn the_last_address_is_reached_and_nothing_behind_it() {
        let mut space = everything();
        let start = u64::MAX - 4095;
        space.insert(start, area(u64::MAX));
        let pieces = space.translate(start + 8, 4088, true).unwrap();
        assert_eq!((pieces.len(), pieces[0].offset), (1, 8));
        let past = space.translate(start + 8, 4089, true).err();
        let unmapped = Refusal {
            iova: u64::MAX,
            reason: FaultReason::Unmapped,
        };
        assert_eq!(past, Some(unmapped));
        assert_eq!(space.overlapping(u64::MAX, u64::MAX), [(start, u64::MAX)]);
        assert_eq!(space.remove(start), 4096);
        assert_eq!(space.overlapping(0, u64::MAX), []);
    }

    #[test]
    fn free_addresses_are_found_between_areas() {
        let mut space = everything();
        space.allowed = vec![
            IovaRange {
                start: 0,
                end: 0x3fff,
            },
            IovaRange {
                start: 0x8000,
                end: 0xffff,
            },
        ];
        space.insert(0x2000, area(0x2fff));
        assert_eq!(space.find(0x1000, 0x1000), Some(0x1000));
        assert_eq!(space.find(0x2000, 0x2000), Some(0x8000));
        assert_eq!(space.find(0x8000, 0x1000), Some(0x8000));
        assert_eq!(space.find(0x8001, 1), None);
        space.insert(0x1000, area(0x1fff));
        assert_eq!(space.find(0x1000, 0x1000), Some(0x3000));
        space.allowed = vec![EVERYTHING];
        space.insert(0x3000, area(u64::MAX));
        assert_eq!(space.find(0x1000, 0x1000), None);
    }

    #[test]
    fn what_is_cut_keeps_its_memory() {
        let mut space = everything();
        space.insert(0x1000, area(0x1fff));
        space.cut(0x1800);
        space.cut(0x1800);
        space.cut(0x1000);
        space.cut(0x3000);
        let areas = space.overlapping(0, u64::MAX);
        assert_eq!(areas, [(0x1000, 0x17ff), (0x1800, 0x1fff)]);
        let offset = |at| space.translate(at, 1, false).unwrap()[0].offset;
        assert_eq!((offset(0x17ff), offset(0x1800)), (0x7ff, 0x800));
        // A transfer goes on from one to the other.
        let pieces = space.translate(0x17fe, 4, false).unwrap();
        let lens: Vec<_> = pieces.iter().map(|piece| piece.len).collect();
        assert_eq!(lens, [2, 2]);
    }

    #[test]
    fn ranges_are_intersected() {
        let range = |start, end| IovaRange { start, end };
        let one = [range(0, 9), range(20, u64::MAX)];
        let other = [range(5, 25), range(30, 30)];
        let both = [range(5, 9), range(20, 25), range(30, 30)];
        assert_eq!(intersection(&one, &other), both);
        assert_eq!(intersection(&one, &[range(10, 19)]), []);
    }
}
