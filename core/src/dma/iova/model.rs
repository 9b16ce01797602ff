//! The allocator against a map of pages that says what each operation must answer.

use core::cmp::Reverse;
use core::ops::Range;
use std::vec::Vec;

use proptest::prelude::*;

use super::place::TRIES;
use super::{IovaAllocator, IovaError, IovaRangesError};
use crate::wire::abi::IovaRange;

const KIB_4: u64 = 0x1000;
const MIB: u64 = 0x10_0000;
const PAGES: usize = 96;
/// With pages of 1 MiB two of them reach a page of 2 MiB, though none is told.
const PAGE_SIZES: [u64; 6] = [
    KIB_4,
    0x5000,
    0x1_5000,
    0_u64.wrapping_sub(KIB_4),
    MIB,
    9 * MIB,
];

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
    /// Free every other one.
    FreeEveryOther,
    /// Free anything.
    FreeAny {
        at: u64,
        size: u64,
    },
    KeepBack {
        at: u64,
        size: u64,
    },
    Narrow(Vec<(u64, u64)>),
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
    page: u64,
    /// Whether the page at address 0 can be reserved: it is [`Page::Outside`] unless it is.
    has_first: bool,
    pages: [Page; PAGES],
    live: Vec<(u64, u64)>,
    page_sizes: u64,
    avail: u32,
}

impl<const N: usize> Model<N> {
    fn address(&self, page: usize) -> u64 {
        self.base + page as u64 * self.page
    }

    fn at(&self, page: usize) -> Page {
        self.pages.get(page).copied().unwrap_or(Page::Outside)
    }

    /// Returns the pages of `size` bytes at `start`. Those behind the last one are outside.
    fn pages(&self, start: u64, size: u64) -> Option<Range<usize>> {
        start.checked_add(size - 1)?;
        let first = usize::try_from(start.checked_sub(self.base)? / self.page).ok()?;
        Some(first..first + usize::try_from(size.div_ceil(self.page)).ok()?)
    }

    fn are(&self, pages: &Range<usize>, state: Page) -> bool {
        pages.clone().all(|page| self.at(page) == state)
    }

    /// Returns the stretches of pages in the given state.
    fn stretches(&self, are: impl Fn(Page) -> bool) -> Vec<IovaRange> {
        let mut ranges = Vec::<IovaRange>::new();
        for page in (0..PAGES).filter(|&page| are(self.at(page))) {
            let start = self.address(page);
            let end = start + (self.page - 1);
            match ranges.last_mut() {
                Some(last) if last.end + 1 == start => last.end = end,
                _ => ranges.push(IovaRange { start, end }),
            }
        }
        ranges
    }

    fn free_ranges(&self) -> Vec<IovaRange> {
        self.stretches(|page| page == Page::Free)
    }

    fn ranges(&self) -> Vec<IovaRange> {
        self.stretches(|page| page != Page::Outside)
    }

    /// Returns how many ranges and allocations there are.
    fn used(&self) -> usize {
        self.live.len() + self.ranges().len()
    }

    fn check_room(&self) -> Result<(), IovaError> {
        if self.live.len() == self.avail as usize {
            Err(IovaError::LimitReached { avail: self.avail })
        } else if self.used() == N {
            Err(IovaError::NoRoom { capacity: N })
        } else {
            Ok(())
        }
    }

    fn take(&mut self, start: u64, size: u64) {
        let pages = self.pages(start, size).unwrap();
        self.live.push((start, pages.len() as u64 * self.page));
        self.pages[pages].fill(Page::Taken);
    }

    /// Returns the largest page size that the size reaches and that divides `start`, where it
    /// exceeds what is asked for.
    fn rank(&self, start: u64, size: u64, align: u64) -> u64 {
        let page_sizes = self.page_sizes | (2 * MIB) | (1024 * MIB);
        (12..64)
            .map(|bit| 1_u64 << bit)
            .filter(|page| page_sizes & page != 0 && *page <= size)
            .filter(|page| start.is_multiple_of(*page) && *page > align)
            .max()
            .unwrap_or(0)
    }

    fn allocate(&mut self, size: u64, align: u64, highest: u64) -> Result<u64, IovaError> {
        self.check_room()?;
        let align = align.max(self.page);
        let count = size.div_ceil(self.page) as usize;
        let whole = count as u64 * self.page;
        let places: Vec<(u64, u64)> = (0..PAGES)
            .map(|first| first..first + count)
            .filter(|pages| self.are(pages, Page::Free))
            .map(|pages| self.address(pages.start))
            .filter(|start| start.is_multiple_of(align) && start + (whole - 1) <= highest)
            .map(|start| (start, self.rank(start, whole, align)))
            .collect();
        let Some(&(lowest, best)) = places
            .iter()
            .min_by_key(|place| (Reverse(place.1), place.0))
        else {
            return Err(IovaError::NoSpace {
                size,
                align,
                highest,
            });
        };
        let lowest_in = |range: &IovaRange| {
            let within = |start: u64| range.start <= start && start <= range.end;
            places
                .iter()
                .find(|place| place.1 == best && within(place.0))
        };
        let mut large = self.free_ranges();
        large.retain(|range| range.end - range.start >= whole - 1);
        let tried = large.iter().take(TRIES as usize).find_map(lowest_in);
        let roomy =
            |range: &&IovaRange| range.end - range.start >= whole - 1 + best.max(align) - self.page;
        let roomy = large.iter().find(roomy).and_then(lowest_in);
        let start = tried.or(roomy).map_or(lowest, |place| place.0);
        self.take(start, size);
        Ok(start)
    }

    fn reserve(&mut self, start: u64, size: u64) -> Result<(), IovaError> {
        let mut pages = self.mappable(start, size)?;
        let at = |page| match self.at(page) {
            Page::Outside if page == 0 && self.has_first && self.at(1) != Page::Outside => {
                Page::Free
            }
            at => at,
        };
        match pages.find_map(|page| (at(page) != Page::Free).then(|| at(page))) {
            Some(Page::Taken) => return Err(IovaError::Taken { start, size }),
            Some(_) => return Err(IovaError::OutOfRange { start, size }),
            None => self.check_room()?,
        }
        self.take(start, size);
        Ok(())
    }

    fn free(&mut self, start: u64, size: u64) -> Result<(), IovaError> {
        let pages = self.mappable(start, size)?;
        let whole = pages.len() as u64 * self.page;
        let Some(index) = self.live.iter().position(|&live| live == (start, whole)) else {
            return Err(IovaError::NotTaken { start, size });
        };
        self.live.swap_remove(index);
        self.pages[pages].fill(Page::Free);
        self.hide_first();
        Ok(())
    }

    /// Hides the page at address 0 from everybody who does not ask for it.
    fn hide_first(&mut self) {
        if self.base == 0 && self.at(0) == Page::Free {
            self.pages[0] = Page::Outside;
        }
    }

    fn mappable(&self, start: u64, size: u64) -> Result<Range<usize>, IovaError> {
        self.pages(start, size)
            .ok_or(IovaError::PastEnd { start, size })
    }

    fn keep_back(&mut self, start: u64, size: u64) -> Result<(), IovaError> {
        let mut pages = self.mappable(start, size)?;
        if pages.clone().any(|page| self.at(page) == Page::Taken) {
            return Err(IovaError::Taken { start, size });
        }
        let (before, first) = (self.pages, pages.start);
        pages.end = pages.end.min(PAGES);
        self.pages[pages].fill(Page::Outside);
        if self.used() > N {
            self.pages = before;
            return Err(IovaError::NoRoom { capacity: N });
        }
        self.has_first &= first != 0;
        Ok(())
    }

    fn narrow(&mut self, ranges: &[(u64, u64)]) -> Result<(), IovaRangesError> {
        let within = |page: usize| {
            let within = |&(at, count): &(u64, u64)| (at..at + count).contains(&(page as u64));
            ranges.iter().any(within)
        };
        let outside = |&(start, size): &(u64, u64)| {
            let mut pages = self.pages(start, size).unwrap();
            pages.any(|page| !within(page))
        };
        if let Some(&(start, size)) = self.live.iter().filter(|&live| outside(live)).min() {
            return Err(IovaRangesError::InUse { start, size });
        }
        // Every hole in the midst of what is usable needs room.
        let is_usable = |page: usize| self.at(page) != Page::Outside;
        let splits = (1..PAGES).filter(|&from| {
            let to = (from..PAGES).find(|&page| within(page)).unwrap_or(PAGES);
            !within(from) && within(from - 1) && (from - 1..=to).all(is_usable)
        });
        if self.used() + splits.count() > N {
            return Err(IovaRangesError::TooMany { capacity: N });
        }
        for page in (0..PAGES).filter(|&page| !within(page)) {
            self.pages[page] = Page::Outside;
        }
        self.has_first &= within(0);
        Ok(())
    }
}

fn ranges() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((0..PAGES as u64, 1..PAGES as u64), 1..4)
}

fn step() -> impl Strategy<Value = Step> {
    let place = || (0..PAGES as u64, 1..12_u64);
    prop_oneof![
        40 => (1..12_u64, 0..5_u32, 0..PAGES as u64 + 8).prop_map(|(size, align, highest)| {
            Step::Allocate { size, align: 1 << align, highest }
        }),
        40 => Just(Step::Allocate { size: 1, align: 1, highest: PAGES as u64 }),
        10 => place().prop_map(|(at, size)| Step::Reserve { at, size }),
        10 => (1..4_u64).prop_map(|size| Step::Reserve { at: 0, size }),
        40 => any::<prop::sample::Index>().prop_map(Step::Free),
        1 => Just(Step::FreeEveryOther),
        10 => place().prop_map(|(at, size)| Step::FreeAny { at, size }),
        2 => place().prop_map(|(at, size)| Step::KeepBack { at, size }),
        1 => ranges().prop_map(Step::Narrow),
    ]
}

/// Where the pages are, and what is told of them.
#[derive(Clone, Debug)]
struct Setting {
    at_top: bool,
    ranges: Vec<(u64, u64)>,
    page_sizes: u64,
    avail: u32,
    /// How much less than whole pages is asked for, in bytes.
    less: u64,
}

fn setting() -> impl Strategy<Value = Setting> {
    let page_sizes = prop::sample::select(PAGE_SIZES.as_slice());
    (any::<bool>(), ranges(), page_sizes, 1..96_u32, 0..KIB_4).prop_map(
        |(at_top, ranges, page_sizes, avail, less)| Setting {
            at_top,
            ranges,
            page_sizes,
            avail,
            less,
        },
    )
}

/// Runs `steps` on both, and gives everything back at the end.
fn run<const N: usize>(setting: &Setting, steps: &[Step]) -> Result<(), TestCaseError> {
    let &Setting {
        page_sizes,
        avail,
        less,
        ..
    } = setting;
    let page = page_sizes & page_sizes.wrapping_neg();
    let base = if setting.at_top {
        (PAGES as u64 * page).wrapping_neg()
    } else {
        0
    };
    let mut model = Model::<N> {
        base,
        page,
        has_first: !setting.at_top,
        pages: [Page::Free; PAGES],
        live: Vec::new(),
        page_sizes,
        avail,
    };
    model.hide_first();
    let told = |ranges: &[(u64, u64)]| -> Vec<IovaRange> {
        let range = |&(at, count): &(u64, u64)| IovaRange {
            start: base + at * page,
            end: base + ((at + count).min(PAGES as u64) * page - 1),
        };
        ranges.iter().map(range).collect()
    };
    let mut wide = Model::<PAGES> { ..model.widened() };
    wide.narrow(&setting.ranges).unwrap();
    let created = IovaAllocator::<N>::new(told(&setting.ranges), page_sizes, Some(avail));
    if wide.ranges().len() > N {
        prop_assert_eq!(created, Err(IovaRangesError::TooMany { capacity: N }));
        return Ok(());
    }
    (model.pages, model.has_first) = (wide.pages, wide.has_first);
    let mut iovas = created.unwrap();

    for step in steps {
        let at = |at: u64| base + at * page;
        let bytes = |size: u64| size * page - less;
        match *step {
            Step::Allocate {
                size,
                align,
                highest,
            } => {
                let (size, align) = (bytes(size), align * page);
                let highest = base.saturating_add(highest * page);
                let answer = iovas.allocate_up_to(size, align, highest);
                prop_assert_eq!(answer, model.allocate(size, align, highest));
            }
            Step::Reserve { at: page, size } => {
                let (start, size) = (at(page), bytes(size));
                prop_assert_eq!(iovas.reserve(start, size), model.reserve(start, size));
            }
            Step::Free(_) if model.live.is_empty() => (),
            Step::Free(index) => {
                let (start, size) = *index.get(&model.live);
                prop_assert_eq!(iovas.free(start, size - less), Ok(()));
                prop_assert_eq!(model.free(start, size - less), Ok(()));
            }
            Step::FreeEveryOther => {
                for (start, size) in model.live.clone().into_iter().step_by(2) {
                    prop_assert_eq!(iovas.free(start, size), Ok(()));
                    prop_assert_eq!(model.free(start, size), Ok(()));
                }
            }
            Step::FreeAny { at: page, size } => {
                let (start, size) = (at(page), bytes(size));
                prop_assert_eq!(iovas.free(start, size), model.free(start, size));
            }
            Step::KeepBack { at: page, size } => {
                let (start, size) = (at(page), bytes(size));
                prop_assert_eq!(iovas.keep_back(start, size), model.keep_back(start, size));
            }
            Step::Narrow(ref ranges) => {
                prop_assert_eq!(iovas.narrow(told(ranges)), model.narrow(ranges));
            }
        }
        iovas.check();
        let free = model.free_ranges();
        prop_assert!(iovas.free_ranges().eq(free.iter().copied()));
        prop_assert!(iovas.ranges().eq(model.ranges()));
        let bytes = free.iter().map(|r| r.end - r.start + 1).sum();
        prop_assert_eq!(iovas.available(), bytes);
        let largest = free.iter().map(|r| r.end - r.start + 1).max();
        prop_assert_eq!(iovas.largest_free(), largest.unwrap_or(0));
        prop_assert_eq!(iovas.mappings(), model.live.len() as u64);
    }

    for (start, size) in core::mem::take(&mut model.live) {
        prop_assert_eq!(iovas.free(start, size), Ok(()));
    }
    let first = IovaRange {
        start: 0,
        end: page - 1,
    };
    let told = model.has_first.then_some(first).into_iter();
    let ranges = model.ranges();
    let told = told.chain(ranges.iter().copied());
    let anew = IovaAllocator::new(told, page_sizes, Some(avail));
    prop_assert_eq!(Ok(iovas), anew);
    Ok(())
}

impl<const N: usize> Model<N> {
    /// Returns the model with room for all ranges.
    fn widened(&self) -> Model<PAGES> {
        Model {
            base: self.base,
            page: self.page,
            has_first: self.has_first,
            pages: self.pages,
            live: Vec::new(),
            page_sizes: self.page_sizes,
            avail: self.avail,
        }
    }
}

proptest! {
    #[test]
    fn every_answer_is_the_models(
        setting in setting(),
        steps in prop::collection::vec(step(), 0..150),
    ) {
        run::<3>(&setting, &steps)?;
        run::<8>(&setting, &steps)?;
        run::<32>(&setting, &steps)?;
        run::<PAGES>(&setting, &steps)?;
    }
}
