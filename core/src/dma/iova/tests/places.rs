//! Where allocations lie.

use std::string::ToString;
use std::vec::Vec;

use super::{LAST_PAGE, MIB, PAGE, X86, allocator, free, usable};
use crate::dma::iova::IovaError;

const GIB: u64 = 1024 * MIB;

#[test]
fn address_0_is_for_nobody_who_does_not_ask_for_it() {
    let mut iovas = allocator::<4>(&[(0, 0x3fff)], PAGE);
    assert_eq!(usable(&iovas), [(0x1000, 0x3fff)]);
    assert_eq!(iovas.allocate(PAGE), Ok(PAGE));
    // The memory of a guest begins there.
    let taken = IovaError::Taken {
        start: 0,
        size: 2 * PAGE,
    };
    assert_eq!(iovas.reserve(0, 2 * PAGE), Err(taken));
    iovas.free(PAGE, PAGE).unwrap();
    let whole = iovas.clone();
    assert_eq!(iovas.reserve(0, 2 * PAGE), Ok(()));
    assert_eq!(usable(&iovas), [(0, 0x3fff)]);
    assert_eq!(iovas.allocate(PAGE), Ok(2 * PAGE));
    iovas.free(0, 2 * PAGE).unwrap();
    assert_eq!(iovas.allocate(PAGE), Ok(PAGE));
    assert_eq!(iovas.reserve(0, PAGE), Ok(()));
    let taken = IovaError::Taken {
        start: 0,
        size: PAGE,
    };
    assert_eq!(iovas.reserve(0, PAGE), Err(taken));
    iovas.free(0, PAGE).unwrap();
    iovas.free(PAGE, PAGE).unwrap();
    iovas.free(2 * PAGE, PAGE).unwrap();
    assert_eq!(iovas, whole);

    // Where it is kept back, it can't be had at all.
    iovas.keep_back(0, 1).unwrap();
    let outside = IovaError::OutOfRange {
        start: 0,
        size: PAGE,
    };
    assert_eq!(iovas.reserve(0, PAGE), Err(outside));
    assert_eq!(
        outside.to_string(),
        "the IOMMU can't map all of 0x1000 bytes at IOVA 0x0, or some are kept back"
    );
    // A page is as large as the IOMMU's smallest.
    let mut large = allocator::<4>(&[(0, 0xf_ffff)], 0x1_0000);
    assert_eq!(large.allocate(PAGE), Ok(0x1_0000));
}

#[test]
fn the_last_page_of_the_address_space_can_be_had() {
    let mut iovas = allocator::<4>(&[(0, u64::MAX)], PAGE);
    let most = LAST_PAGE;
    assert_eq!(iovas.available(), most);
    assert_eq!(iovas.largest_free(), most);
    let whole = iovas.clone();
    assert_eq!(iovas.allocate(PAGE), Ok(PAGE));
    assert_eq!(iovas.reserve(LAST_PAGE, PAGE), Ok(()));
    assert_eq!(free(&iovas), [(2 * PAGE, LAST_PAGE - 1)]);
    let largest = iovas.largest_free();
    assert_eq!(iovas.allocate(largest), Ok(2 * PAGE));
    assert_eq!(iovas.available(), 0);
    iovas.free(LAST_PAGE, PAGE).unwrap();
    assert_eq!(iovas.allocate(PAGE), Ok(LAST_PAGE));
    iovas.free(PAGE, PAGE).unwrap();
    iovas.free(LAST_PAGE, PAGE).unwrap();
    iovas.free(2 * PAGE, largest).unwrap();
    assert_eq!(iovas, whole);
    assert_eq!(iovas.allocate(most), Ok(PAGE));
    assert_eq!(iovas.free(PAGE, most), Ok(()));
    assert_eq!(iovas, whole);
    // A size of 2^64 - 1 is 2^64 in whole pages.
    let none = Err(IovaError::NoSpace {
        size: u64::MAX,
        align: PAGE,
        highest: u64::MAX,
    });
    assert_eq!(iovas.allocate(u64::MAX), none);
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
    assert_eq!(iovas.free(0x5_1000, PAGE), misaligned);
    iovas.free(0x2_0000, 0x1_0001).unwrap();
    assert_eq!(free(&iovas), [(0x2_0000, 0x3_ffff), (0x5_0000, 0xf_ffff)]);
}

#[test]
fn an_alignment_is_kept_and_the_gap_before_it_used() {
    let mut iovas = allocator::<8>(&[(PAGE, 8 * MIB - 1)], PAGE);
    assert_eq!(iovas.allocate_aligned(PAGE, 2 * MIB), Ok(2 * MIB));
    assert_eq!(iovas.allocate_aligned(PAGE, 1), Ok(PAGE));
    assert_eq!(iovas.allocate_aligned(PAGE, 4 * MIB), Ok(4 * MIB));
    let none = |align| {
        Err(IovaError::NoSpace {
            size: PAGE,
            align,
            highest: u64::MAX,
        })
    };
    for align in [8 * MIB, 1 << 63] {
        assert_eq!(iovas.allocate_aligned(PAGE, align), none(align));
    }
    for align in [0, 3, 0x1001, u64::MAX] {
        let refused = Err(IovaError::Alignment { align });
        assert_eq!(iovas.allocate_aligned(PAGE, align), refused);
    }
    assert_eq!(iovas.allocate(0), Err(IovaError::Empty));
    assert_eq!(iovas.reserve(PAGE, 0), Err(IovaError::Empty));
    assert_eq!(iovas.free(PAGE, 0), Err(IovaError::Empty));
    assert_eq!(iovas.keep_back(PAGE, 0), Err(IovaError::Empty));

    let mut whole = allocator::<8>(&[(0, u64::MAX)], PAGE);
    assert_eq!(whole.allocate_aligned(PAGE, 1 << 63), Ok(1 << 63));
    assert_eq!(whole.allocate_aligned(PAGE, 1 << 63), none(1 << 63));
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
fn large_sizes_are_aligned_though_the_iommu_tells_only_its_smallest_page() {
    // As iommufd does.
    let mut iovas = allocator::<8>(&[(0, u64::MAX)], PAGE);
    assert_eq!(iovas.allocate(PAGE), Ok(PAGE));
    assert_eq!(iovas.allocate(2 * MIB - PAGE), Ok(2 * PAGE));
    assert_eq!(iovas.allocate(2 * MIB), Ok(4 * MIB));
    assert_eq!(iovas.allocate(GIB), Ok(GIB));
    assert_eq!(iovas.allocate(GIB + 5 * PAGE), Ok(2 * GIB));
    assert_eq!(iovas.allocate(GIB - 1), Ok(4 * GIB));
    assert_eq!(iovas.allocate_up_to(2 * MIB, 1, GIB - 1), Ok(6 * MIB));
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
    iovas.free(0x0fff_e000, PAGE).unwrap();
    assert_eq!(
        none(PAGE).unwrap_err().to_string(),
        "no 0x1000 bytes aligned to 0x1000 are free up to IOVA 0xfffffff"
    );
    // One byte less, and the page is out of reach.
    let mut page = allocator::<4>(&[(0, 0xffff)], PAGE);
    assert!(page.allocate_up_to(1, 1, 0x1ffe).is_err());
    assert_eq!(page.allocate_up_to(1, 1, 0x1fff), Ok(0x1000));
    assert!(page.allocate_up_to(1, 1, 0).is_err());
}

#[test]
fn a_place_is_found_where_most_that_are_large_enough_are_not_aligned() {
    // Pages at odd numbers of pages are free, and one at an even number, the last.
    let mut iovas = allocator::<128>(&[(PAGE, 0x6_5fff)], PAGE);
    for page in 1..0x65 {
        assert_eq!(iovas.allocate(PAGE), Ok(page * PAGE));
    }
    for page in (1..0x64).step_by(2) {
        iovas.free(page * PAGE, PAGE).unwrap();
    }
    iovas.free(0x64 * PAGE, PAGE).unwrap();
    iovas.reserve(0x65 * PAGE, PAGE).unwrap();
    assert_eq!(
        iovas.allocate_up_to(PAGE, 2 * PAGE, 0x64_fff),
        Ok(0x64 * PAGE)
    );
    assert!(iovas.allocate_aligned(PAGE, 2 * PAGE).is_err());
    // A gap that is large enough for any place goes before a lower one that is aligned by chance.
    for page in [0x50, 0x5e, 0x60, 0x62] {
        iovas.free(page * PAGE, PAGE).unwrap();
    }
    assert_eq!(
        iovas.allocate_aligned(PAGE, 4 * PAGE),
        Ok(0x60 * PAGE),
        "0x4f to 0x51 are free, 0x5d to 0x63, and single pages"
    );
    assert_eq!(iovas.allocate_aligned(PAGE, 4 * PAGE), Ok(0x50 * PAGE));
}

#[test]
fn large_sizes_lie_at_the_lowest_place_that_holds_them() {
    // Gaps of 2,100 pages and one less and one more are not told apart at once.
    let mut iovas = allocator::<64>(&[(PAGE, u64::MAX)], PAGE);
    let gaps = [2_099, 2_100, 2_098, 2_101, 2_100];
    let mut start = PAGE;
    let mut starts = Vec::new();
    for pages in gaps {
        starts.push(start);
        iovas.reserve(start + pages * PAGE, PAGE).unwrap();
        start += (pages + 1) * PAGE;
    }
    assert_eq!(
        iovas
            .allocate_aligned(2_101 * PAGE, 1)
            .map(|at| at % (2 * MIB)),
        Ok(0)
    );
    let mut odd = allocator::<64>(&[(PAGE, start - 1)], PAGE);
    for (pages, start) in gaps.iter().zip(&starts) {
        odd.reserve(start + pages * PAGE, PAGE).unwrap();
    }
    assert_eq!(odd.allocate(2_100 * PAGE), Ok(starts[1]));
    assert_eq!(odd.allocate(2_100 * PAGE), Ok(starts[3]));
    assert_eq!(odd.allocate(2_100 * PAGE), Ok(starts[4]));
    assert!(odd.allocate(2_100 * PAGE).is_err());
    assert_eq!(odd.allocate(2_098 * PAGE), Ok(starts[0]));
    assert_eq!(odd.largest_free(), 2_098 * PAGE);
}
