//! What users of the allocator rely on.

mod hostile;
mod places;
mod ranges;

use std::string::ToString;
use std::vec::Vec;

use super::{IovaAllocator, IovaError, IovaRangesError};
use crate::wire::abi::IovaRange;

const PAGE: u64 = 0x1000;
const MIB: u64 = 0x10_0000;
const X86: u64 = 0x4020_1000;
const LAST_PAGE: u64 = u64::MAX - 0xfff;

fn allocator<const N: usize>(ranges: &[(u64, u64)], page_sizes: u64) -> IovaAllocator<N> {
    new(ranges, page_sizes, None).unwrap()
}

fn new<const N: usize>(
    ranges: &[(u64, u64)],
    page_sizes: u64,
    avail: Option<u32>,
) -> Result<IovaAllocator<N>, IovaRangesError> {
    IovaAllocator::new(told(ranges), page_sizes, avail)
}

fn told(ranges: &[(u64, u64)]) -> impl Iterator<Item = IovaRange> + Clone {
    ranges.iter().map(|&(start, end)| IovaRange { start, end })
}

fn free<const N: usize>(iovas: &IovaAllocator<N>) -> Vec<(u64, u64)> {
    iovas.free_ranges().map(|r| (r.start, r.end)).collect()
}

fn usable<const N: usize>(iovas: &IovaAllocator<N>) -> Vec<(u64, u64)> {
    iovas.ranges().map(|r| (r.start, r.end)).collect()
}

#[test]
fn an_end_past_the_address_space_is_an_error() {
    let mut iovas = allocator::<2>(&[(0, u64::MAX)], PAGE);
    let past = IovaError::PastEnd {
        start: LAST_PAGE,
        size: 2 * PAGE,
    };
    assert_eq!(iovas.reserve(LAST_PAGE, 2 * PAGE), Err(past));
    assert_eq!(iovas.free(LAST_PAGE, 2 * PAGE), Err(past));
    assert_eq!(iovas.keep_back(LAST_PAGE, 2 * PAGE), Err(past));
    assert_eq!(
        past.to_string(),
        "0x2000 bytes at IOVA 0xfffffffffffff000 end past 2^64"
    );
}

#[test]
fn what_is_freed_joins_its_neighbours() {
    let whole = allocator::<8>(&[(0x1000, 0x5fff)], PAGE);
    let mut iovas = whole.clone();
    for page in 1..6 {
        assert_eq!(iovas.allocate(PAGE), Ok(page * PAGE));
    }
    iovas.free(0x2000, PAGE).unwrap();
    iovas.free(0x4000, PAGE).unwrap();
    assert_eq!(free(&iovas), [(0x2000, 0x2fff), (0x4000, 0x4fff)]);
    // With the one before, with the one behind, with both.
    iovas.free(0x5000, PAGE).unwrap();
    assert_eq!(free(&iovas), [(0x2000, 0x2fff), (0x4000, 0x5fff)]);
    iovas.free(0x1000, PAGE).unwrap();
    assert_eq!(free(&iovas), [(0x1000, 0x2fff), (0x4000, 0x5fff)]);
    iovas.free(0x3000, PAGE).unwrap();
    assert_eq!(iovas, whole);
}

#[test]
fn nothing_is_taken_twice() {
    let mut iovas = allocator::<4>(&[(0, 0x7fff)], PAGE);
    iovas.reserve(0x2000, 0x2000).unwrap();
    let before = iovas.clone();
    for (start, size) in [(0x2000, 0x2000), (0x1000, 0x2000), (0x3000, 0x2000)] {
        let taken = Err(IovaError::Taken { start, size });
        assert_eq!(iovas.reserve(start, size), taken);
    }
    assert_eq!(iovas, before);
}

#[test]
fn nothing_is_freed_but_whole_allocations() {
    let mut iovas = allocator::<8>(&[(0, 0xffff)], PAGE);
    iovas.reserve(0x2000, 0x2000).unwrap();
    iovas.reserve(0x4000, 0x2000).unwrap();
    iovas.reserve(0x8000, PAGE).unwrap();
    iovas.free(0x8000, PAGE).unwrap();
    let before = iovas.clone();
    let wrong = [
        // Twice, half of it in front and behind, more than it, two of them, what is free, what is
        // not usable.
        (0x8000, PAGE),
        (0x2000, PAGE),
        (0x3000, PAGE),
        (0x3000, 0x2000),
        (0x1000, 0x3000),
        (0x4000, 0x3000),
        (0x2000, 0x4000),
        (0x1000, PAGE),
        (0, 0x1_0000),
        (0, 1),
        (0x1_0000, PAGE),
        (LAST_PAGE, PAGE),
    ];
    for (start, size) in wrong {
        let not_taken = IovaError::NotTaken { start, size };
        assert_eq!(iovas.free(start, size), Err(not_taken));
        assert_eq!(iovas, before);
    }
    let not_taken = IovaError::NotTaken {
        start: 0x2000,
        size: PAGE,
    };
    assert_eq!(
        not_taken.to_string(),
        "there is no allocation of 0x1000 bytes at IOVA 0x2000"
    );
    assert_eq!(iovas.free(0x2000, 0x2000), Ok(()));
    assert_eq!(iovas.free(0x4000, 0x1001), Ok(()));
}

#[test]
fn another_allocation_than_there_is_room_for_is_refused() {
    let whole = allocator::<4>(&[(0x1000, 0x7fff), (0x1_0000, 0x1_ffff)], PAGE);
    let mut iovas = whole.clone();
    assert_eq!(iovas.allocate(PAGE), Ok(0x1000));
    assert_eq!(iovas.reserve(0x1_8000, PAGE), Ok(()));
    let full = iovas.clone();
    let no_room = IovaError::NoRoom { capacity: 4 };
    assert_eq!(iovas.allocate(PAGE), Err(no_room));
    assert_eq!(iovas.reserve(0x4000, PAGE), Err(no_room));
    assert_eq!(iovas.keep_back(0x4000, PAGE), Err(no_room));
    assert_eq!(
        no_room.to_string(),
        "no room for another allocation: 4 at most, with the IOMMU's ranges"
    );
    // What takes no room is done.
    assert_eq!(iovas.keep_back(0x1_f000, u64::MAX - 0x1_f000), Ok(()));
    assert_ne!(iovas, full);
    iovas.free(0x1_8000, PAGE).unwrap();
    assert_eq!(iovas.keep_back(0x4000, PAGE), Ok(()));
    iovas.free(0x1000, PAGE).unwrap();
    let rest = [(0x1000, 0x3fff), (0x5000, 0x7fff), (0x1_0000, 0x1_efff)];
    assert_eq!(free(&iovas), rest);
}

#[test]
fn all_that_is_allocated_is_freed_in_any_order() {
    let ranges = [(0, 0xfedf_ffff), (0xfef0_0000, (1 << 39) - 1)];
    let whole = new::<34>(&ranges, X86, Some(32)).unwrap();
    let orders: [fn(u64) -> u64; 4] = [
        |n| n,
        |n| 31 - n,
        |n| (n * 2 + n / 16) % 32,
        |n| (n * 13) % 32,
    ];
    for order in orders {
        let mut iovas = whole.clone();
        for round in 0..100 {
            for n in 1..=32 {
                assert_eq!(iovas.allocate(PAGE), Ok(n * PAGE), "round {round}");
            }
            for n in 0..32 {
                assert_eq!(iovas.free((order(n) + 1) * PAGE, PAGE), Ok(()));
            }
            assert_eq!(iovas, whole);
        }
    }
}

#[test]
fn no_more_mappings_are_made_than_the_iommu_makes() {
    let mut iovas = new::<8>(&[(0, 0xffff)], PAGE, Some(2)).unwrap();
    let limit = IovaError::LimitReached { avail: 2 };
    assert_eq!(iovas.allocate(PAGE), Ok(PAGE));
    assert_eq!(iovas.reserve(0x4000, 0x2000), Ok(()));
    // What is kept back is no mapping.
    iovas.keep_back(0xf000, PAGE).unwrap();
    let before = iovas.clone();
    assert_eq!(iovas.allocate(PAGE), Err(limit));
    assert_eq!(iovas.reserve(0x8000, PAGE), Err(limit));
    assert_eq!(iovas, before);
    assert_eq!(
        limit.to_string(),
        "all 2 mappings that the IOMMU makes are in use"
    );
    // Who frees what is not allocated does not get more.
    assert!(iovas.free(0x4000, PAGE).is_err());
    assert!(iovas.free(0x8000, PAGE).is_err());
    assert_eq!(iovas.mappings(), 2);
    assert_eq!(iovas.allocate(PAGE), Err(limit));
    iovas.free(0x4000, 0x2000).unwrap();
    assert_eq!(iovas.mappings(), 1);
    iovas.free(PAGE, PAGE).unwrap();
    assert_eq!(iovas.mappings(), 0);

    let mut unlimited = new::<4>(&[(0, 0xffff)], PAGE, Some(u32::MAX)).unwrap();
    assert_eq!(unlimited.allocate(PAGE), Ok(PAGE));
    let mut none = new::<4>(&[(0, 0xffff)], PAGE, Some(0)).unwrap();
    assert_eq!(
        none.allocate(PAGE),
        Err(IovaError::LimitReached { avail: 0 })
    );
}
