//! Which pages of the arena are taken.

use core::ops::Range;

/// Which of `64 * W` pages are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Pages<const W: usize> {
    taken: [u64; W],
}

impl<const W: usize> Pages<W> {
    /// Creates an arena whose pages are all free.
    #[must_use]
    pub const fn new() -> Self {
        Self { taken: [0; W] }
    }

    /// Takes the first `count` free pages that lie together; `None` where there are none.
    pub fn take(&mut self, count: usize) -> Option<Range<usize>> {
        let mut start = 0;
        let mut page = 0_usize;
        while count != 0 && page < Self::all() {
            page = page.saturating_add(1);
            if self.is_taken(page.saturating_sub(1)) {
                start = page;
            } else if page.saturating_sub(start) == count {
                self.set(start..page, true);
                return Some(start..page);
            }
        }
        None
    }

    /// Gives pages back.
    pub fn give(&mut self, pages: Range<usize>) {
        self.set(pages, false);
    }

    /// Returns how many pages are taken.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.taken.iter().map(|word| word.count_ones()).sum()
    }

    const fn all() -> usize {
        W.saturating_mul(64)
    }

    fn is_taken(&self, page: usize) -> bool {
        let word = self.taken.get(page / 64);
        word.is_none_or(|word| word >> (page % 64) & 1 != 0)
    }

    fn set(&mut self, pages: Range<usize>, is_taken: bool) {
        for page in pages {
            if let Some(word) = self.taken.get_mut(page / 64) {
                let bit = 1 << (page % 64);
                *word = if is_taken { *word | bit } else { *word & !bit };
            }
        }
    }
}

impl<const W: usize> Default for Pages<W> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_lie_together_are_taken_and_given_back() {
        let mut pages = Pages::<2>::new();
        assert_eq!(pages.take(60), Some(0..60));
        assert_eq!(pages.take(10), Some(60..70));
        pages.give(0..60);
        assert_eq!(pages.take(61), None);
        assert_eq!(pages.take(58), Some(0..58));
        assert_eq!(pages.take(3), Some(70..73));
        assert_eq!(pages.take(2), Some(58..60));
        assert_eq!(pages.taken(), 73);
    }

    #[test]
    fn no_pages_and_too_many_are_none() {
        let mut pages = Pages::<1>::new();
        assert_eq!(pages.take(0), None);
        assert_eq!(pages.take(65), None);
        assert_eq!(pages.take(usize::MAX), None);
        assert_eq!(pages.take(64), Some(0..64));
        assert_eq!(pages.take(1), None);
    }
}
