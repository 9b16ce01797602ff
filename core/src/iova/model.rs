//! The allocator against a map of pages that says what each operation must answer.

use core::cmp::Reverse;
use core::ops::Range;
use std::vec::Vec;

use proptest::prelude::*;

use super::{IovaAllocator, IovaError};
use crate::abi::IovaRange;

const PAGE: u64 = 0x1000;
const PAGES: usize = 64;
const PAGE_SIZES: [u64; 4] = [PAGE, 0x5000, 0x1_5000, 0_u64.wrapping_sub(PAGE)];

/// What is done; places and sizes in pages.
#[derive(Clone, Debug)]
enum Step {
    Allocate {
        size: u64,
        align: u64,
        highest: u64,
    },
    Reserve {
        at: u64,
        size: u64,
    },
    /// Free one of the allocations.
    Free(prop::sample::Index),
    /// Free anything.
    FreeAny {
        at: u64,
        size: u64,
    },
}

#[derive(Clone, Copy, PartialEq)]
enum Page {
    Outside,
    Free,
    Taken,
}

/// One entry per page, and what was allocated.
struct Model<const N: usize> {
    /// Address of page 0.
    base: u64,
    pages: [Page; PAGES],
    live: Vec<(u64, u64)>,
    page_sizes: u64,
    avail: u32,
}

impl<const N: usize> Model<N> {
    fn address(&self, page: usize) -> u64 {
        self.base + page as u64 * PAGE
    }

    /// The pages of `size` bytes at `start`.
    fn pages(&self, start: u64, size: u64) -> Option<Range<usize>> {
        let first = usize::try_from(start.checked_sub(self.base)? / PAGE).ok()?;
        let past = first + usize::try_from(size / PAGE).ok()?;
        (past <= PAGES).then_some(first..past)
    }

    fn are(&self, pages: &Range<usize>, state: Page) -> bool {
        self.pages[pages.clone()].iter().all(|&page| page == state)
    }

    fn is_free(&self, page: usize) -> bool {
        self.pages.get(page) == Some(&Page::Free)
    }

    /// The free list as it must be.
    fn free_ranges(&self) -> Vec<IovaRange> {
        let mut ranges = Vec::<IovaRange>::new();
        for page in (0..PAGES).filter(|&page| self.is_free(page)) {
            let start = self.address(page);
            let end = start + (PAGE - 1);
            match ranges.last_mut() {
                Some(last) if last.end + 1 == start => last.end = end,
                _ => ranges.push(IovaRange { start, end }),
            }
        }
        ranges
    }

    /// Whether free pages lie on both sides.
    fn splits(&self, pages: &Range<usize>) -> bool {
        pages.start > 0 && self.is_free(pages.start - 1) && self.is_free(pages.end)
    }

    fn check_limit(&self) -> Result<(), IovaError> {
        if self.live.len() < self.avail as usize {
            Ok(())
        } else {
            Err(IovaError::LimitReached { avail: self.avail })
        }
    }

    fn take(&mut self, start: u64, size: u64) {
        let pages = self.pages(start, size).unwrap();
        self.pages[pages].fill(Page::Taken);
        self.live.push((start, size));
    }

    fn allocate(&mut self, size: u64, align: u64, highest: u64) -> Result<u64, IovaError> {
        self.check_limit()?;
        let count = (size / PAGE) as usize;
        let places: Vec<Range<usize>> = (0..=PAGES - count)
            .map(|first| first..first + count)
            .filter(|pages| self.are(pages, Page::Free))
            .filter(|pages| self.address(pages.start).is_multiple_of(align))
            .filter(|pages| self.address(pages.start) + (size - 1) <= highest)
            .collect();
        let used = self.free_ranges().len();
        let place = places
            .iter()
            .filter(|pages| used < N || !self.splits(pages))
            .min_by_key(|pages| {
                let rank = (12..64)
                    .map(|bit| 1_u64 << bit)
                    .filter(|page| self.page_sizes & page != 0 && *page <= size)
                    .filter(|page| self.address(pages.start).is_multiple_of(*page))
                    .max()
                    .filter(|page| used < N / 2 && *page > align)
                    .unwrap_or(0);
                (Reverse(rank), pages.start)
            });
        if let Some(place) = place {
            let start = self.address(place.start);
            self.take(start, size);
            Ok(start)
        } else if places.is_empty() {
            Err(IovaError::NoSpace {
                size,
                align,
                highest,
            })
        } else {
            Err(IovaError::Fragmented { capacity: N })
        }
    }

    fn reserve(&mut self, start: u64, size: u64) -> Result<(), IovaError> {
        let pages = self.mappable(start, size)?;
        if !self.are(&pages, Page::Free) {
            return Err(IovaError::Taken { start, size });
        }
        self.check_limit()?;
        if self.splits(&pages) && self.free_ranges().len() == N {
            return Err(IovaError::Fragmented { capacity: N });
        }
        self.take(start, size);
        Ok(())
    }

    fn free(&mut self, start: u64, size: u64) -> Result<(), IovaError> {
        let pages = self.mappable(start, size)?;
        if !self.are(&pages, Page::Taken) {
            return Err(IovaError::NotTaken { start, size });
        }
        let joins = (pages.start > 0 && self.is_free(pages.start - 1)) || self.is_free(pages.end);
        if !joins && self.free_ranges().len() == N {
            return Err(IovaError::Fragmented { capacity: N });
        }
        self.pages[pages].fill(Page::Free);
        self.live.retain(|&block| block != (start, size));
        Ok(())
    }

    fn mappable(&self, start: u64, size: u64) -> Result<Range<usize>, IovaError> {
        if start.checked_add(size - 1).is_none() {
            return Err(IovaError::PastEnd { start, size });
        }
        self.pages(start, size)
            .filter(|pages| !self.pages[pages.clone()].contains(&Page::Outside))
            .ok_or(IovaError::OutOfRange { start, size })
    }
}

fn step() -> impl Strategy<Value = Step> {
    let place = || (0..PAGES as u64, 1..12_u64);
    prop_oneof![
        4 => (1..12_u64, 0..5_u32, 0..PAGES as u64 + 8).prop_map(|(size, align, highest)| {
            Step::Allocate { size, align: 1 << align, highest }
        }),
        1 => place().prop_map(|(at, size)| Step::Reserve { at, size }),
        4 => any::<prop::sample::Index>().prop_map(Step::Free),
        1 => place().prop_map(|(at, size)| Step::FreeAny { at, size }),
    ]
}

/// Runs `steps` on both, and gives everything back at the end.
fn run<const N: usize>(
    at_top: bool,
    ranges: &[(u64, u64)],
    page_sizes: u64,
    avail: u32,
    steps: &[Step],
) -> Result<(), TestCaseError> {
    let base = if at_top {
        (PAGES as u64 * PAGE).wrapping_neg()
    } else {
        0
    };
    let mut model = Model::<N> {
        base,
        pages: [Page::Outside; PAGES],
        live: Vec::new(),
        page_sizes,
        avail,
    };
    for &(at, count) in ranges {
        let past = PAGES.min((at + count) as usize);
        model.pages[at as usize..past].fill(Page::Free);
    }
    let whole = model.free_ranges();
    let reported = ranges.iter().map(|&(at, count)| {
        let last = (at + count).min(PAGES as u64) * PAGE - 1;
        IovaRange {
            start: base + at * PAGE,
            end: base + last,
        }
    });
    let mut iovas = IovaAllocator::<N>::new(reported, page_sizes, Some(avail)).unwrap();
    let initial = iovas.clone();
    prop_assert!(iovas.free_ranges().eq(whole));

    for step in steps {
        match *step {
            Step::Allocate {
                size,
                align,
                highest,
            } => {
                let (size, align) = (size * PAGE, align * PAGE);
                let highest = base.saturating_add(highest * PAGE);
                let answer = iovas.allocate_up_to(size, align, highest);
                prop_assert_eq!(answer, model.allocate(size, align, highest));
            }
            Step::Reserve { at, size } => {
                let (start, size) = (base + at * PAGE, size * PAGE);
                prop_assert_eq!(iovas.reserve(start, size), model.reserve(start, size));
            }
            Step::Free(_) if model.live.is_empty() => (),
            Step::Free(index) => {
                let (start, size) = *index.get(&model.live);
                prop_assert_eq!(iovas.free(start, size), model.free(start, size));
            }
            Step::FreeAny { at, size } => {
                let (start, size) = (base + at * PAGE, size * PAGE);
                let pages = model.pages(start, size);
                // Only whole allocations are freed, and those by the step above.
                if !pages.is_some_and(|pages| model.are(&pages, Page::Taken)) {
                    prop_assert_eq!(iovas.free(start, size), model.free(start, size));
                }
            }
        }
        let free = model.free_ranges();
        prop_assert!(iovas.free_ranges().eq(free.iter().copied()));
        let bytes = free.iter().map(|r| u128::from(r.end - r.start) + 1).sum();
        prop_assert_eq!(iovas.available(), bytes);
        prop_assert_eq!(iovas.mappings(), model.live.len() as u64);
    }

    // What can't be freed yet can be when a neighbour is free.
    while !model.live.is_empty() {
        let before = model.live.len();
        for (start, size) in model.live.clone() {
            prop_assert_eq!(iovas.free(start, size), model.free(start, size));
        }
        prop_assert!(model.live.len() < before);
    }
    prop_assert_eq!(iovas, initial);
    Ok(())
}

proptest! {
    #[test]
    fn every_answer_is_the_models(
        at_top: bool,
        ranges in prop::collection::vec((0..PAGES as u64, 1..PAGES as u64), 1..4),
        page_sizes in prop::sample::select(PAGE_SIZES.as_slice()),
        avail in 1..24_u32,
        steps in prop::collection::vec(step(), 0..200),
    ) {
        run::<3>(at_top, &ranges, page_sizes, avail, &steps)?;
        run::<8>(at_top, &ranges, page_sizes, avail, &steps)?;
        run::<64>(at_top, &ranges, page_sizes, avail, &steps)?;
    }
}
