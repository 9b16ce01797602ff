//! Ranges in any order, as the holes between them.

use super::class::Pages;
use crate::wire::abi::IovaRange;

/// The stretches of pages that no range covers whole, the lowest first.
///
/// The ranges are gone through once for each of them, as there is no room for a sorted list.
#[derive(Clone)]
pub(super) struct Holes<R> {
    ranges: R,
    /// A page has 2^shift bytes.
    shift: u32,
    /// Where the next hole can begin.
    page: Pages,
    /// Where the next stretch that is covered can begin, up to the end of the address space.
    address: Option<u64>,
}

impl<R: Iterator<Item = IovaRange> + Clone> Holes<R> {
    pub(super) const fn new(ranges: R, shift: u32) -> Self {
        Self {
            ranges,
            shift,
            page: 0,
            address: Some(0),
        }
    }

    /// Returns the lowest covered stretch of addresses from `from` on. Stretches that overlap or
    /// touch are one.
    fn covered(&self, from: u64) -> Option<IovaRange> {
        let ahead = self.ranges.clone().filter(|range| from <= range.end);
        let start = ahead.map(|range| range.start.max(from)).min()?;
        let mut end = start;
        loop {
            let touching = self
                .ranges
                .clone()
                .filter(|range| range.start <= end.saturating_add(1));
            match touching.map(|range| range.end).max() {
                Some(further) if further > end => end = further,
                _ => return Some(IovaRange { start, end }),
            }
        }
    }
}

/// Returns the first page that starts at `address` or behind it.
fn page_from(address: u64, shift: u32) -> Pages {
    match address.checked_sub(1) {
        Some(before) => before.wrapping_shr(shift).saturating_add(1),
        None => 0,
    }
}

/// Returns how many pages end at `last` or before it.
pub(super) fn pages_up_to(last: u64, shift: u32) -> Pages {
    match last.checked_add(1) {
        Some(past) => past.wrapping_shr(shift),
        None => last.wrapping_shr(shift).saturating_add(1),
    }
}

impl<R: Iterator<Item = IovaRange> + Clone> Iterator for Holes<R> {
    type Item = (Pages, Pages);

    /// Returns the first page of a hole, and the first page behind it.
    fn next(&mut self) -> Option<Self::Item> {
        while let Some(covered) = self.address.and_then(|address| self.covered(address)) {
            self.address = covered.end.checked_add(1);
            let start = page_from(covered.start, self.shift);
            let end = pages_up_to(covered.end, self.shift);
            if start < end {
                let hole = (self.page, start);
                self.page = end;
                if hole.0 < hole.1 {
                    return Some(hole);
                }
            }
        }
        self.address = None;
        let hole = (self.page, pages_up_to(u64::MAX, self.shift));
        self.page = hole.1;
        (hole.0 < hole.1).then_some(hole)
    }
}
