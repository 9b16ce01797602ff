//! What users of the allocator rely on.

use std::string::ToString;
use std::vec::Vec;

use super::{IovaAllocator, IovaError, IovaRangesError};
use crate::abi::IovaRange;

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
    let ranges = ranges.iter().map(|&(start, end)| IovaRange { start, end });
    IovaAllocator::new(ranges, page_sizes, avail)
}

fn free<const N: usize>(iovas: &IovaAllocator<N>) -> Vec<(u64, u64)> {
    iovas.free_ranges().map(|r| (r.start, r.end)).collect()
}

#[test]
fn ranges_are_sorted_joined_and_cut_to_pages() {
    let ranges = [(0x5000, 0x8123), (0x1001, 0x3fff), (0x8000, 0x9fff)];
    let iovas = allocator::<2>(&ranges, PAGE);
    assert_eq!(free(&iovas), [(0x2000, 0x3fff), (0x5000, 0x9fff)]);
    assert_eq!(iovas.available(), 0x7000);
    assert_eq!(iovas.largest_free(), 0x5000);
}

#[test]
fn reports_that_make_no_sense_are_refused() {
    let inverted = IovaRangesError::Inverted {
        index: 1,
        start: 0x2000,
        end: 0x1fff,
    };
    let ranges = [(0, 0xfff), (0x2000, 0x1fff)];
    assert_eq!(new::<4>(&ranges, PAGE, None), Err(inverted));
    assert_eq!(
        inverted.to_string(),
        "IOVA range 1 ends at 0x1fff, before its start 0x2000"
    );
    for mask in [0, 1, 0x800, 0x1800] {
        let refused = Err(IovaRangesError::PageSizes { mask });
        assert_eq!(new::<4>(&[(0, 0xffff)], mask, None), refused);
    }
    let apart = [(0, 0xfff), (0x2000, 0x2fff), (0x4000, 0x4fff)];
    let many = Err(IovaRangesError::TooMany { capacity: 2 });
    assert_eq!(new::<2>(&apart, PAGE, None), many);
}

#[test]
fn the_first_and_the_last_page_of_the_address_space_can_be_had() {
    let mut iovas = allocator::<2>(&[(0, u64::MAX)], PAGE);
    assert_eq!(iovas.available(), 1 << 64);
    assert_eq!(iovas.largest_free(), u64::MAX);
    let whole = iovas.clone();
    assert_eq!(iovas.allocate(PAGE), Ok(0));
    assert_eq!(iovas.reserve(LAST_PAGE, PAGE), Ok(()));
    assert_eq!(free(&iovas), [(PAGE, LAST_PAGE - 1)]);
    assert_eq!(iovas.allocate(iovas.largest_free()), Ok(PAGE));
    assert_eq!(iovas.available(), 0);
    iovas.free(LAST_PAGE, PAGE).unwrap();
    assert_eq!(iovas.allocate(PAGE), Ok(LAST_PAGE));
    iovas.free(0, PAGE).unwrap();
    iovas.free(LAST_PAGE, PAGE).unwrap();
    iovas.free(PAGE, LAST_PAGE - PAGE).unwrap();
    assert_eq!(iovas, whole);
    // A size of 2^64 - 1 is 2^64 in whole pages.
    assert_eq!(iovas.allocate(u64::MAX), Ok(0));
    assert_eq!(iovas.free(0, u64::MAX), Ok(()));
    assert_eq!(iovas, whole);
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
    assert_eq!(
        past.to_string(),
        "0x2000 bytes at IOVA 0xfffffffffffff000 end past 2^64"
    );
}

#[test]
fn sizes_and_addresses_are_multiples_of_the_smallest_page() {
    let mut iovas = allocator::<4>(&[(0x1_0000, 0xf_ffff)], 0x2001_0000);
    assert_eq!(iovas.page_size(), 0x1_0000);
    assert_eq!(iovas.allocate(1), Ok(0x1_0000));
    assert_eq!(iovas.allocate(0x1_0001), Ok(0x2_0000));
    assert_eq!(iovas.allocate_aligned(PAGE, PAGE), Ok(0x4_0000));
    let misaligned = Err(IovaError::Misaligned {
        start: 0x5_1000,
        page: 0x1_0000,
    });
    assert_eq!(iovas.reserve(0x5_1000, PAGE), misaligned);
    iovas.free(0x2_0000, 0x1_0001).unwrap();
    assert_eq!(free(&iovas), [(0x2_0000, 0x3_ffff), (0x5_0000, 0xf_ffff)]);
}

#[test]
fn an_alignment_is_kept_and_the_gap_before_it_used() {
    let mut iovas = allocator::<4>(&[(PAGE, 8 * MIB - 1)], PAGE);
    assert_eq!(iovas.allocate_aligned(PAGE, 2 * MIB), Ok(2 * MIB));
    assert_eq!(iovas.allocate_aligned(PAGE, 1), Ok(PAGE));
    assert_eq!(iovas.allocate_aligned(PAGE, 4 * MIB), Ok(4 * MIB));
    let none = IovaError::NoSpace {
        size: PAGE,
        align: 8 * MIB,
        highest: u64::MAX,
    };
    assert_eq!(iovas.allocate_aligned(PAGE, 8 * MIB), Err(none));
    for align in [0, 3, 0x1001] {
        let refused = Err(IovaError::Alignment { align });
        assert_eq!(iovas.allocate_aligned(PAGE, align), refused);
    }
    assert_eq!(iovas.allocate(0), Err(IovaError::Empty));
}

#[test]
fn large_sizes_get_boundaries_of_large_pages_where_they_are_free() {
    let mut iovas = allocator::<16>(&[(PAGE, 2 * MIB - 1), (3 * MIB, 8 * MIB - 1)], X86);
    // The first range would hold a MiB, and no larger page is as small.
    assert_eq!(iovas.allocate(MIB), Ok(PAGE));
    assert_eq!(iovas.allocate(2 * MIB), Ok(4 * MIB));
    assert_eq!(iovas.allocate(2 * MIB), Ok(6 * MIB));
    assert_eq!(iovas.allocate(MIB), Ok(3 * MIB));

    // Without a free boundary any page will do.
    let mut odd = allocator::<16>(&[(MIB, 4 * MIB - PAGE - 1)], X86);
    assert_eq!(odd.allocate(2 * MIB), Ok(MIB));
    // With 1 GiB out of reach, 2 MiB are the next best.
    let mut next = allocator::<16>(&[(MIB, 2048 * MIB - 1)], X86);
    assert_eq!(next.allocate(1500 * MIB), Ok(2 * MIB));
}

#[test]
fn no_byte_lies_above_the_highest_address() {
    let mut iovas = allocator::<4>(&[(0x0fff_e000, 0xffff_ffff)], PAGE);
    let highest = 0x0fff_ffff;
    assert_eq!(iovas.allocate_up_to(PAGE, 1, highest), Ok(0x0fff_e000));
    let none = |size| {
        Err(IovaError::NoSpace {
            size,
            align: PAGE,
            highest,
        })
    };
    assert_eq!(iovas.allocate_up_to(2 * PAGE, 1, highest), none(2 * PAGE));
    assert_eq!(iovas.allocate_up_to(PAGE, 1, highest), Ok(0x0fff_f000));
    assert_eq!(iovas.allocate_up_to(PAGE, 1, highest), none(PAGE));
    assert_eq!(iovas.allocate_up_to(PAGE, 1, u64::MAX), Ok(0x1000_0000));
    assert_eq!(
        none(PAGE).unwrap_err().to_string(),
        "no 0x1000 bytes aligned to 0x1000 are free up to IOVA 0xfffffff"
    );
}

#[test]
fn what_is_freed_joins_its_neighbours() {
    let whole = allocator::<4>(&[(0, 0x4fff)], PAGE);
    let mut iovas = whole.clone();
    for page in 0..5 {
        assert_eq!(iovas.allocate(PAGE), Ok(page * PAGE));
    }
    iovas.free(0x1000, PAGE).unwrap();
    iovas.free(0x3000, PAGE).unwrap();
    assert_eq!(free(&iovas), [(0x1000, 0x1fff), (0x3000, 0x3fff)]);
    // With the one before, with the one behind, with both.
    iovas.free(0x4000, PAGE).unwrap();
    assert_eq!(free(&iovas), [(0x1000, 0x1fff), (0x3000, 0x4fff)]);
    iovas.free(0, PAGE).unwrap();
    assert_eq!(free(&iovas), [(0, 0x1fff), (0x3000, 0x4fff)]);
    iovas.free(0x2000, PAGE).unwrap();
    assert_eq!(iovas, whole);
}

#[test]
fn ranges_of_the_iommu_stay_apart() {
    let whole = allocator::<4>(&[(0, 0x1fff), (0x3000, 0x4fff)], PAGE);
    let mut iovas = whole.clone();
    let outside = |start, size| Err(IovaError::OutOfRange { start, size });
    assert_eq!(iovas.reserve(0x1000, 0x3000), outside(0x1000, 0x3000));
    assert_eq!(iovas.reserve(0x2000, PAGE), outside(0x2000, PAGE));
    assert_eq!(iovas.free(0x5000, PAGE), outside(0x5000, PAGE));
    assert_eq!(iovas, whole);
    assert_eq!(iovas.reserve(0, 0x2000), Ok(()));
    assert_eq!(iovas.reserve(0x3000, 0x2000), Ok(()));
    assert_eq!(iovas.free(0, 0x5000), outside(0, 0x5000));
}

#[test]
fn nothing_is_taken_or_freed_twice() {
    let mut iovas = allocator::<4>(&[(0, 0x7fff)], PAGE);
    iovas.reserve(0x2000, 0x2000).unwrap();
    let before = iovas.clone();
    for (start, size) in [(0x2000, 0x2000), (0x1000, 0x2000), (0x3000, 0x2000)] {
        let taken = Err(IovaError::Taken { start, size });
        assert_eq!(iovas.reserve(start, size), taken);
    }
    for (start, size) in [(0x1000, 0x2000), (0x3000, 0x2000), (0, 0x8000), (0, 1)] {
        let not_taken = Err(IovaError::NotTaken { start, size });
        assert_eq!(iovas.free(start, size), not_taken);
    }
    assert_eq!(iovas, before);
}

#[test]
fn a_full_list_refuses_what_would_split_and_takes_what_would_not() {
    let mut iovas = allocator::<2>(&[(0x1000, 0x1_2fff)], PAGE);
    let fragmented = Err(IovaError::Fragmented { capacity: 2 });
    iovas.reserve(0x5000, PAGE).unwrap();
    let before = iovas.clone();
    assert_eq!(iovas.reserve(0x3000, PAGE), fragmented);
    assert_eq!(
        iovas.allocate_aligned(PAGE, 0x8000),
        fragmented.map(|()| 0),
        "0x8000 and 0x10000 are free, each in the midst of a range"
    );
    assert_eq!(iovas, before);
    // The end of a range is as good as its start.
    assert_eq!(iovas.allocate_aligned(PAGE, 0x2000), Ok(0x4000));
    assert_eq!(iovas.allocate_aligned(PAGE, 0x2000), Ok(0x6000));
    assert_eq!(free(&iovas), [(0x1000, 0x3fff), (0x7000, 0x1_2fff)]);
}

#[test]
fn a_free_that_needs_a_range_too_many_can_be_repeated() {
    let whole = allocator::<1>(&[(0, 0x3fff)], PAGE);
    let mut iovas = whole.clone();
    for _ in 0..3 {
        iovas.allocate(PAGE).unwrap();
    }
    let before = iovas.clone();
    let fragmented = Err(IovaError::Fragmented { capacity: 1 });
    assert_eq!(iovas.free(0x1000, PAGE), fragmented);
    assert_eq!(iovas, before);
    iovas.free(0x2000, PAGE).unwrap();
    iovas.free(0x1000, PAGE).unwrap();
    iovas.free(0, PAGE).unwrap();
    assert_eq!(iovas, whole);
}

#[test]
fn no_more_mappings_are_made_than_the_iommu_makes() {
    let mut iovas = new::<4>(&[(0, 0xffff)], PAGE, Some(2)).unwrap();
    let limit = IovaError::LimitReached { avail: 2 };
    assert_eq!(iovas.allocate(PAGE), Ok(0));
    assert_eq!(iovas.reserve(0x4000, 0x2000), Ok(()));
    let before = iovas.clone();
    assert_eq!(iovas.allocate(PAGE), Err(limit));
    assert_eq!(iovas.reserve(0x8000, PAGE), Err(limit));
    assert_eq!(iovas, before);
    assert_eq!(
        limit.to_string(),
        "all 2 mappings that the IOMMU makes are in use"
    );
    // Pieces are no mappings.
    iovas.free(0x4000, PAGE).unwrap();
    iovas.free(0x5000, PAGE).unwrap();
    assert_eq!(iovas.mappings(), 1);
    iovas.free(0, PAGE).unwrap();
    assert_eq!(iovas.mappings(), 0);

    let mut unlimited = new::<4>(&[(0, 0xffff)], PAGE, Some(u32::MAX)).unwrap();
    assert_eq!(unlimited.allocate(PAGE), Ok(0));
    let mut none = new::<4>(&[(0, 0xffff)], PAGE, Some(0)).unwrap();
    assert_eq!(
        none.allocate(PAGE),
        Err(IovaError::LimitReached { avail: 0 })
    );
}
