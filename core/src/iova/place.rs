//! The place for an allocation.

use crate::abi::IovaRange;

/// Why there is no place.
pub(super) enum Unplaced {
    NoSpace,
    /// There is one in the midst of a free range, and no room for a range more.
    Full,
}

/// What a place is looked for.
pub(super) struct Wanted {
    /// From the first address to the last.
    pub(super) span: u64,
    /// A power of two, at least a page.
    pub(super) align: u64,
    /// The last address must not be above.
    pub(super) highest: u64,
}

impl Wanted {
    /// The lowest and the highest address of `range` at which it can start, alignment aside.
    fn starts(&self, range: IovaRange) -> Option<(u64, u64)> {
        let last = range.end.min(self.highest).checked_sub(self.span)?;
        (range.start <= last).then_some((range.start, last))
    }

    /// The lowest place that is aligned best: to the largest of `page_sizes` that the size
    /// reaches and a free range allows, and in any case as asked.
    pub(super) fn best(
        &self,
        free: impl Iterator<Item = IovaRange>,
        page_sizes: u64,
    ) -> Option<u64> {
        let size = self.span.saturating_add(1);
        let goal = self.align.max(largest_up_to(page_sizes, size));
        let mut best: Option<(u64, u64)> = None;
        for range in free {
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
    pub(super) fn at_edge(&self, range: IovaRange) -> Option<u64> {
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
pub(super) const fn is_multiple(address: u64, align: u64) -> bool {
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
