//! A sorted list of ranges of addresses, of fixed capacity.

use heapless::Vec;

use crate::abi::IovaRange;

/// The list has no room for a range more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Ranges, of which no two overlap or touch, so that equal sets of addresses are equal lists.
/// Ends belong to their ranges.
///
/// The highest comes first: addresses are taken from the lowest, and what is at the end of the
/// list goes without moving the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ranges<const N: usize>(Vec<IovaRange, N>);

impl<const N: usize> Ranges<N> {
    /// No addresses.
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// How many ranges there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The ranges, the lowest first.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = IovaRange> + '_ {
        self.0.iter().rev().copied()
    }

    /// Whether another range would not fit.
    pub(super) fn is_full(&self) -> bool {
        self.0.is_full()
    }

    /// Whether any address of `range` is in the set. O(log N).
    pub(super) fn overlaps(&self, range: IovaRange) -> bool {
        let highest = self.0.get(self.starting_up_to(range.end));
        highest.is_some_and(|highest| range.start <= highest.end)
    }

    /// Whether all addresses of `range` are in the set. O(log N).
    pub(super) fn covers(&self, range: IovaRange) -> bool {
        let whole = self.0.get(self.starting_up_to(range.start));
        whole.is_some_and(|whole| range.end <= whole.end)
    }

    /// Adds the addresses of `range`, whose end is not before its start. What it overlaps or
    /// touches becomes one range with it. O(N).
    pub(super) fn add(&mut self, range: IovaRange) -> Result<(), Full> {
        // Saturation is right: at the ends of the address space, what would touch overlaps.
        let highest = self.starting_up_to(range.end.saturating_add(1));
        let before = range.start.saturating_sub(1);
        let past = self.0.partition_point(|other| before <= other.end);
        if past <= highest {
            return self.insert(highest, range);
        }
        let lowest = past.checked_sub(1).and_then(|lowest| self.0.get(lowest));
        let start = lowest.map_or(range.start, |lowest| lowest.start.min(range.start));
        if let Some(joined) = self.0.get_mut(highest) {
            joined.start = start;
            joined.end = joined.end.max(range.end);
        }
        self.cut(highest.saturating_add(1), past);
        Ok(())
    }

    /// Takes the addresses of `range` away, which are all in the set. O(N), and O(log N) from the
    /// lowest range.
    pub(super) fn remove(&mut self, range: IovaRange) -> Result<(), Full> {
        let at = self.starting_up_to(range.start);
        let Some(whole) = self.0.get_mut(at) else {
            return Ok(());
        };
        let before = range.start.checked_sub(1).filter(|&end| whole.start <= end);
        let after = range.end.checked_add(1).filter(|&start| start <= whole.end);
        match (before, after) {
            (None, None) => self.cut(at, at.saturating_add(1)),
            (Some(end), None) => whole.end = end,
            (None, Some(start)) => whole.start = start,
            (Some(end), Some(start)) => {
                let head = IovaRange { end, ..*whole };
                let tail = IovaRange { start, ..*whole };
                self.insert(at, tail)?;
                if let Some(whole) = self.0.get_mut(at.saturating_add(1)) {
                    *whole = head;
                }
            }
        }
        Ok(())
    }

    /// Cuts every range to whole pages of `page` bytes, a power of two; what has none goes. O(N).
    pub(super) fn trim(&mut self, page: u64) {
        let low = page.wrapping_sub(1);
        self.0.retain_mut(|range| {
            let start = range.start.checked_next_multiple_of(page);
            let end = if range.end & low == low {
                Some(range.end)
            } else {
                (range.end & !low).checked_sub(1)
            };
            match (start, end) {
                (Some(start), Some(end)) if start < end => {
                    *range = IovaRange { start, end };
                    true
                }
                _ => false,
            }
        });
    }

    /// The index of the highest range that starts at `address` or before it.
    fn starting_up_to(&self, address: u64) -> usize {
        self.0.partition_point(|range| address < range.start)
    }

    /// Puts `range` at index `at`, which is at most the length.
    fn insert(&mut self, at: usize, range: IovaRange) -> Result<(), Full> {
        // Vec::insert would bring a panic for an index past the end.
        self.0.push(range).map_err(|_| Full)?;
        if let Some(moved @ [_, ..]) = self.0.get_mut(at..) {
            moved.rotate_right(1);
        }
        Ok(())
    }

    /// Removes the ranges from index `from` to before index `to`; rarely more than one.
    fn cut(&mut self, from: usize, to: usize) {
        for _ in from..to {
            // Vec::remove would bring a panic for an index past the end.
            if let Some(moved @ [_, ..]) = self.0.get_mut(from..) {
                moved.rotate_left(1);
                let _ = self.0.pop();
            }
        }
    }
}

#[cfg(feature = "defmt")]
impl<const N: usize> defmt::Format for Ranges<N> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{}", self.0.as_slice());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn range((start, end): (u64, u64)) -> IovaRange {
        IovaRange { start, end }
    }

    fn set<const N: usize>(list: &[(u64, u64)]) -> Ranges<N> {
        let mut set = Ranges::new();
        for &item in list {
            set.add(range(item)).unwrap();
        }
        set
    }

    fn list<const N: usize>(set: &Ranges<N>) -> Vec<(u64, u64)> {
        set.iter().map(|r| (r.start, r.end)).collect()
    }

    #[test]
    fn what_overlaps_or_touches_is_joined() {
        let apart = [(10, 19), (30, 39), (50, 59)];
        assert_eq!(list(&set::<3>(&[apart[2], apart[0], apart[1]])), apart);
        let join = |added| {
            let mut set = set::<3>(&apart);
            set.add(range(added)).unwrap();
            list(&set)
        };
        assert_eq!(join((20, 20)), [(10, 20), (30, 39), (50, 59)]);
        assert_eq!(join((29, 29)), [(10, 19), (29, 39), (50, 59)]);
        assert_eq!(join((20, 29)), [(10, 39), (50, 59)]);
        assert_eq!(join((32, 35)), apart);
        assert_eq!(join((0, u64::MAX)), [(0, u64::MAX)]);
        assert_eq!(join((19, 50)), [(10, 59)]);
    }

    #[test]
    fn the_ends_of_the_address_space_join() {
        let edges = set::<2>(&[(0, 0), (u64::MAX, u64::MAX)]);
        assert_eq!(list(&edges), [(0, 0), (u64::MAX, u64::MAX)]);
        let joined = set::<2>(&[(0, 0), (u64::MAX, u64::MAX), (1, u64::MAX - 1)]);
        assert_eq!(list(&joined), [(0, u64::MAX)]);
    }

    #[test]
    fn a_range_is_taken_from_either_end_the_middle_or_whole() {
        let take = |taken| {
            let mut set = set::<3>(&[(0, 9), (20, 29)]);
            set.remove(range(taken)).unwrap();
            list(&set)
        };
        assert_eq!(take((20, 24)), [(0, 9), (25, 29)]);
        assert_eq!(take((25, 29)), [(0, 9), (20, 24)]);
        assert_eq!(take((24, 24)), [(0, 9), (20, 23), (25, 29)]);
        assert_eq!(take((20, 29)), [(0, 9)]);
        assert_eq!(take((0, 9)), [(20, 29)]);
    }

    #[test]
    fn a_full_list_stays_as_it_is() {
        let mut set = set::<2>(&[(0, 9), (20, 29)]);
        let before = set.clone();
        assert_eq!(set.add(range((11, 18))), Err(Full));
        assert_eq!(set.remove(range((4, 4))), Err(Full));
        assert_eq!(set, before);
    }

    #[test]
    fn only_whole_pages_are_left() {
        let trimmed = |item| {
            let mut set = set::<1>(&[item]);
            set.trim(0x1000);
            list(&set)
        };
        assert_eq!(trimmed((1, 0x2ffe)), [(0x1000, 0x1fff)]);
        assert_eq!(trimmed((0x1000, 0x1fff)), [(0x1000, 0x1fff)]);
        assert_eq!(trimmed((0, u64::MAX)), [(0, u64::MAX)]);
        assert_eq!(trimmed((0x1001, 0x2ffe)), []);
        assert_eq!(trimmed((0, 0xffe)), []);
        assert_eq!(trimmed((u64::MAX - 1, u64::MAX)), []);
    }
}
