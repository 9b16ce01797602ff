//! Numbers of pages in 16 bits, rounded down.

use zerocopy::FromZeros;

/// The number of a page, or how many pages: at most 2^52, as pages are 4 KiB or more.
pub(super) type Pages = u64;

/// How many bits of a number are kept behind the highest.
const KEPT: u32 = 10;

/// Below it, every number has a class of its own.
const EXACT: Pages = 2 << KEPT;

/// About how many pages: exact below 2048, and else with an error below one in 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromZeros)]
pub(super) struct Class(u16);

impl Class {
    /// Less than no pages: there is nothing that could have some.
    pub(super) const NONE: Self = Self(0);

    /// No pages, and any number.
    pub(super) const ANY: Self = Self(1);

    /// One page.
    pub(super) const PAGE: Self = Self(2);

    /// Creates the class of `pages`. That of a larger number is larger, or the same.
    pub(super) fn of(pages: Pages) -> Self {
        match u16::try_from(pages) {
            Ok(few) if pages < EXACT => Self(few.wrapping_add(1)),
            _ => Self::of_many(pages),
        }
    }

    /// Returns the class of [`EXACT`] pages and more, as [`Self::of`].
    #[cold]
    #[inline(never)]
    fn of_many(pages: Pages) -> Self {
        let exponent = pages.checked_ilog2().unwrap_or(0).saturating_sub(KEPT);
        let class = pages
            .wrapping_shr(exponent)
            .wrapping_add(u64::from(exponent).wrapping_shl(KEPT))
            .wrapping_add(1);
        // At most 43 * 2^10 + 1, for 2^52 pages.
        Self(u16::try_from(class).unwrap_or(u16::MAX))
    }

    /// Creates the lowest class in which no number is below `pages`.
    pub(super) fn from(pages: Pages) -> Self {
        match pages.checked_sub(1) {
            Some(below) => Self(Self::of(below).0.saturating_add(1)),
            None => Self::ANY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_have_a_class_each() {
        assert_eq!((Class::of(0), Class::of(1)), (Class::ANY, Class::PAGE));
        for pages in 0..EXACT {
            assert_eq!(Class::from(pages), Class::of(pages));
            assert!(Class::of(pages) < Class::of(pages + 1));
        }
    }

    #[test]
    fn large_numbers_share_a_class_with_those_that_differ_by_less_than_one_in_1024() {
        for exponent in 1..=41 {
            let (first, step) = (1_u64 << (exponent + 10), 1 << exponent);
            for smallest in (first..2 * first).step_by(step as usize) {
                let class = Class::of(smallest);
                assert_eq!(Class::from(smallest), class);
                assert!(Class::of(smallest - 1) < class);
                assert_eq!(Class::of(smallest + step - 1), class);
                assert_eq!(Class::from(smallest + 1), Class::of(smallest + step));
            }
        }
        assert_eq!(Class::of(1 << 52), Class(43 * 1024 + 1));
    }
}
