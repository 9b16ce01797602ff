//! What can be given out.

use std::string::ToString;
use std::vec::Vec;

use zerocopy::FromZeros as _;

use super::{LAST_PAGE, PAGE, allocator, free, new, told, usable};
use crate::dma::iova::{IovaAllocator, IovaError, IovaRangesError};

#[test]
fn ranges_are_sorted_joined_and_cut_to_pages() {
    let ranges = [(0x5000, 0x8123), (0x1001, 0x3fff), (0x8000, 0x9fff)];
    let iovas = allocator::<2>(&ranges, PAGE);
    assert_eq!(free(&iovas), [(0x2000, 0x3fff), (0x5000, 0x9fff)]);
    assert_eq!(iovas.available(), 0x7000);
    assert_eq!(iovas.largest_free(), 0x5000);
}

#[test]
fn only_whole_pages_are_left_of_a_range() {
    let trimmed = |range| free(&allocator::<1>(&[range], PAGE));
    assert_eq!(trimmed((0x1001, 0x3ffe)), [(0x2000, 0x2fff)]);
    assert_eq!(trimmed((0x1000, 0x1fff)), [(0x1000, 0x1fff)]);
    assert_eq!(trimmed((0, u64::MAX)), [(0x1000, u64::MAX)]);
    assert_eq!(trimmed((0x1001, 0x2ffe)), []);
    assert_eq!(trimmed((0x1000, 0x1ffe)), []);
    assert_eq!(trimmed((0, 0xfff)), []);
    assert_eq!(trimmed((u64::MAX - 1, u64::MAX)), []);
    // Two that make a page together do not lose it.
    let halves = allocator::<1>(&[(0x1800, 0x1fff), (0x1000, 0x17ff)], PAGE);
    assert_eq!(free(&halves), [(0x1000, 0x1fff)]);
    let edges = [(0, 0xfff), (LAST_PAGE, u64::MAX), (0x1000, LAST_PAGE - 1)];
    assert_eq!(free(&allocator::<1>(&edges, PAGE)), [(0x1000, u64::MAX)]);
    assert_eq!(free(&allocator::<1>(&[], PAGE)), []);
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
    let apart = [(0x1000, 0x1fff), (0x3000, 0x3fff), (0x5000, 0x5fff)];
    let many = IovaRangesError::TooMany { capacity: 2 };
    assert_eq!(new::<2>(&apart, PAGE, None), Err(many));
    assert_eq!(
        many.to_string(),
        "no room for the IOMMU's IOVA ranges: 2 ranges and allocations at most"
    );
    let none = Err(IovaRangesError::TooMany { capacity: 0 });
    assert_eq!(new::<0>(&[(0, 0xffff)], PAGE, None), none);
}

#[test]
fn ranges_of_the_iommu_stay_apart() {
    let whole = allocator::<4>(&[(0x1000, 0x2fff), (0x4000, 0x5fff)], PAGE);
    let mut iovas = whole.clone();
    let outside = |start, size| Err(IovaError::OutOfRange { start, size });
    let not_taken = |start, size| Err(IovaError::NotTaken { start, size });
    assert_eq!(iovas.reserve(0x2000, 0x3000), outside(0x2000, 0x3000));
    assert_eq!(iovas.reserve(0x3000, PAGE), outside(0x3000, PAGE));
    assert_eq!(iovas.reserve(0x6000, PAGE), outside(0x6000, PAGE));
    assert_eq!(iovas.free(0x6000, PAGE), not_taken(0x6000, PAGE));
    assert_eq!(iovas, whole);
    assert_eq!(iovas.reserve(0x1000, 0x2000), Ok(()));
    assert_eq!(iovas.reserve(0x4000, 0x2000), Ok(()));
    assert_eq!(usable(&iovas), usable(&whole));
    assert_eq!(iovas.free(0x1000, 0x5000), not_taken(0x1000, 0x5000));
    iovas.free(0x1000, 0x2000).unwrap();
    iovas.free(0x4000, 0x2000).unwrap();
    assert_eq!(iovas, whole);
}

#[test]
fn what_is_kept_back_is_never_given_out() {
    let mut iovas = allocator::<8>(&[(0, 0xffff), (0x2_0000, 0x2_ffff)], PAGE);
    iovas.reserve(0x8000, 0x2000).unwrap();
    // In whole pages, whatever part of them is meant.
    iovas.keep_back(0x2fff, 2).unwrap();
    assert_eq!(iovas.allocate(PAGE), Ok(0x1000));
    assert_eq!(iovas.allocate(PAGE), Ok(0x4000));
    iovas.free(0x1000, PAGE).unwrap();
    iovas.free(0x4000, PAGE).unwrap();
    let taken = |start, size| Err(IovaError::Taken { start, size });
    assert_eq!(iovas.keep_back(0x7000, 0x1001), taken(0x7000, 0x1001));
    assert_eq!(iovas.keep_back(0x9000, PAGE), taken(0x9000, PAGE));
    // Right before an allocation, right behind it, and over the end of a range.
    iovas.keep_back(0x7000, PAGE).unwrap();
    iovas.keep_back(0xa000, PAGE).unwrap();
    iovas.keep_back(0xf000, 0x1_2000).unwrap();
    let rest = [
        (0x1000, 0x1fff),
        (0x4000, 0x6fff),
        (0xb000, 0xefff),
        (0x2_1000, 0x2_ffff),
    ];
    assert_eq!(free(&iovas), rest);
    iovas.free(0x8000, 0x2000).unwrap();
    let outside = Err(IovaError::OutOfRange {
        start: 0x9000,
        size: 0x2000,
    });
    assert_eq!(iovas.reserve(0x9000, 0x2000), outside);
    assert_eq!(iovas.reserve(0x8000, 0x2000), Ok(()));
    // Again, and what can't be mapped anyway.
    iovas.keep_back(0x2000, 0x2000).unwrap();
    iovas.keep_back(0x1_0000, 0x1_0000).unwrap();
    iovas.keep_back(0, PAGE).unwrap();
    assert_eq!(free(&iovas), rest);
    // It stays so after another list of ranges.
    iovas.narrow(told(&[(0, u64::MAX)])).unwrap();
    assert_eq!(free(&iovas), rest);
}

#[test]
fn another_device_narrows_the_ranges() {
    let mut iovas = allocator::<4>(&[(0, 0xf_ffff)], PAGE);
    assert_eq!(iovas.allocate(0x2000), Ok(0x1000));
    iovas.reserve(0x8_0000, 0x1000).unwrap();
    let before = iovas.clone();
    let in_use = |start, size| Err(IovaRangesError::InUse { start, size });
    let narrow = |iovas: &mut IovaAllocator<4>, ranges| iovas.narrow(told(ranges));
    for ranges in [
        &[(0x2000, 0xf_ffff)],
        &[(0, 0x2ffe)],
        &[(0x8_0000, 0x9_0000)],
    ] {
        assert_eq!(narrow(&mut iovas, ranges), in_use(0x1000, 0x2000));
    }
    let ranges = &[(0x1000, 0x7_ffff), (0x8_0fff, 0x9_0000)];
    assert_eq!(narrow(&mut iovas, ranges), in_use(0x8_0000, 0x1000));
    let inverted = Err(IovaRangesError::Inverted {
        index: 0,
        start: 1,
        end: 0,
    });
    assert_eq!(narrow(&mut iovas, &[(1, 0), (0, u64::MAX)]), inverted);
    let many = Err(IovaRangesError::TooMany { capacity: 4 });
    let ranges = &[(0, 0x4fff), (0x6000, 0x6fff), (0x8_0000, 0xf_ffff)];
    assert_eq!(narrow(&mut iovas, ranges), many);
    assert_eq!(iovas, before);
    assert_eq!(
        in_use(0x1000, 0x2000).unwrap_err().to_string(),
        "the IOMMU can't map all of 0x2000 bytes at IOVA 0x1000 any more, which are allocated"
    );
    // A hole right behind an allocation needs room as well; none is made where one is missing.
    let mut full = allocator::<2>(&[(0x1000, 0xffff)], PAGE);
    full.reserve(0x4000, PAGE).unwrap();
    let before = full.clone();
    let ranges = [(0x2000, 0x4fff), (0x8000, 0xffff)];
    let many = Err(IovaRangesError::TooMany { capacity: 2 });
    assert_eq!(full.narrow(told(&ranges)), many);
    assert_eq!(full, before);

    let ranges = &[(0x8_0000, u64::MAX), (0, 0x3fff)];
    assert_eq!(narrow(&mut iovas, ranges), Ok(()));
    assert_eq!(free(&iovas), [(0x3000, 0x3fff), (0x8_1000, 0xf_ffff)]);
    // Ranges that become wider do not give addresses back.
    assert_eq!(narrow(&mut iovas, &[(0, u64::MAX)]), Ok(()));
    assert_eq!(usable(&iovas), [(0x1000, 0x3fff), (0x8_0000, 0xf_ffff)]);
    iovas.free(0x1000, 0x2000).unwrap();
    iovas.free(0x8_0000, 0x1000).unwrap();
    assert_eq!(narrow(&mut iovas, &[]), Ok(()));
    assert_eq!(usable(&iovas), []);
    assert!(iovas.allocate(1).is_err());
}

#[test]
fn one_without_addresses_gets_some_in_place() {
    for mut iovas in [IovaAllocator::<4>::empty(), IovaAllocator::new_zeroed()] {
        assert_eq!(free(&iovas), []);
        assert_eq!(usable(&iovas), []);
        assert_eq!((iovas.available(), iovas.largest_free()), (0, 0));
        assert!(matches!(iovas.allocate(1), Err(IovaError::NoSpace { .. })));
        assert!(matches!(
            iovas.reserve(7, 1),
            Err(IovaError::OutOfRange { .. })
        ));
        assert!(matches!(iovas.free(7, 1), Err(IovaError::NotTaken { .. })));
        assert_eq!(iovas.keep_back(7, u64::MAX - 7), Ok(()));
        assert_eq!(iovas.narrow(told(&[(0, 7)])), Ok(()));
        let ranges = [(0, 0xffff)];
        assert_eq!(iovas.init(told(&ranges), PAGE, Some(5)), Ok(()));
        assert_eq!(Ok(&iovas), new(&ranges, PAGE, Some(5)).as_ref());
        iovas.allocate(PAGE).unwrap();
        let inverted = iovas.init(told(&[(1, 0)]), PAGE, None);
        assert!(matches!(inverted, Err(IovaRangesError::Inverted { .. })));
        assert_eq!((free(&iovas), iovas.mappings()), (Vec::new(), 0));
        assert_eq!(iovas.init(told(&ranges), PAGE, Some(5)), Ok(()));
        assert_eq!(Ok(&iovas), new(&ranges, PAGE, Some(5)).as_ref());
    }
}
