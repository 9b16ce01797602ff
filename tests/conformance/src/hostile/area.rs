//! Sparse areas and IOVA ranges.

use vfio_core::wire::abi::{IovaRange, RegionSparseMmapArea};
use vfio_core::wire::caps::{AreaError, CapError};
use vfio_core::wire::info::Malformed;

use super::{Case, cap, counted, push};
use crate::capability::{Capability, Content};
use crate::outcome::{Kind, Outcome};
use crate::reply::Reply;

/// An area's offset and size, in bytes.
type Area = (u64, u64);

/// Returns a region with sparse areas.
fn sparse(areas: &[Area]) -> (Vec<u8>, Vec<Capability>) {
    let (kind, start) = (Kind::Region, Kind::Region.size());
    let count = u32::try_from(areas.len()).unwrap();
    let (id, mut body, size) = counted(kind, count);
    for (offset, size) in areas {
        body.extend(offset.to_ne_bytes());
        body.extend(size.to_ne_bytes());
    }
    let bytes = Reply::new(kind, start + 16 + count * size)
        .chain(start)
        .capability(start, id, 1, 0, &body)
        .bytes();
    let areas = areas
        .iter()
        .map(|&(offset, size)| RegionSparseMmapArea { offset, size })
        .collect();
    let caps = vec![Capability {
        id,
        version: 1,
        offset: start,
        next: 0,
        content: Content::SparseMmap(areas),
    }];
    (bytes, caps)
}

/// Adds sparse areas that do or do not fit their region.
pub(super) fn areas(cases: &mut Vec<Case>) {
    const END: u64 = Reply::REGION_SIZE;
    let past = |index| AreaError::PastEnd { index, region: END };
    let overflow = |index| AreaError::Overflow { index };
    let overlap = |first, second| AreaError::Overlap { first, second };
    let wrong: [(&str, &str, &[Area], AreaError); 9] = [
        (
            "area_ends_past_the_region",
            "by a byte",
            &[(0, 0x1000), (0x1000, END - 0xfff)],
            past(1),
        ),
        (
            "area_ends_past_the_region",
            "altogether",
            &[(END, 0x1000)],
            past(0),
        ),
        (
            "area_ends_past_the_region",
            "an empty one",
            &[(END + 1, 0)],
            past(0),
        ),
        ("area_overflows", "", &[(0x1000, u64::MAX)], overflow(0)),
        (
            "area_overflows",
            "to 0",
            &[(0, 0x1000), (u64::MAX, 1)],
            overflow(1),
        ),
        (
            "areas_overlap",
            "by a byte",
            &[(0, 0x1001), (0x1000, 0x1000)],
            overlap(0, 1),
        ),
        (
            "areas_overlap",
            "the same",
            &[(0x1000, 0x1000), (0x1000, 0x1000)],
            overlap(0, 1),
        ),
        (
            "areas_overlap",
            "out of order",
            &[(0x2000, 0x2000), (0, 8), (0x1000, 0x2000)],
            overlap(0, 2),
        ),
        (
            "areas_overlap",
            "one in the other",
            &[(0, END), (0x1000, 1)],
            overlap(0, 1),
        ),
    ];
    let offset = Kind::Region.size();
    for (row, variant, areas, error) in wrong {
        let (bytes, _) = sparse(areas);
        let expected = Outcome::Malformed(Malformed::Area { offset, error });
        push(cases, row, variant, Kind::Region, bytes, expected);
    }
    let nine: Vec<_> = (0..9).map(|n| (n * 0x1000, 0x800)).collect();
    let right: [(&str, &str, &[Area]); 7] = [
        (
            "areas_without_alignment",
            "to pages",
            &[(0, 0x10), (0x801, 0x7ff)],
        ),
        ("areas_without_alignment", "to anything", &[(1, 3), (7, 11)]),
        ("area_of_size_zero", "alone", &[(0, 0)]),
        (
            "area_of_size_zero",
            "among others",
            &[(0, 0x1000), (0x1000, 0), (0x1000, 0x1000)],
        ),
        (
            "area_of_size_zero",
            "within another",
            &[(0, 0x2000), (0x1000, 0)],
        ),
        ("no_areas", "", &[]),
        ("nine_areas", "", &nine),
    ];
    for (row, variant, areas) in right {
        let (bytes, caps) = sparse(areas);
        push(
            cases,
            row,
            variant,
            Kind::Region,
            bytes,
            Outcome::Whole(caps),
        );
    }
}

/// Adds IOVA ranges, whose ends belong to them.
pub(super) fn ranges(cases: &mut Vec<Case>) {
    let (kind, start) = (Kind::Iommu, Kind::Iommu.size());
    let reply = |ranges: &[(u64, u64)]| {
        let count = u32::try_from(ranges.len()).unwrap();
        let (id, mut body, size) = counted(kind, count);
        for (first, last) in ranges {
            body.extend(first.to_ne_bytes());
            body.extend(last.to_ne_bytes());
        }
        Reply::new(kind, start + 16 + count * size)
            .chain(start)
            .capability(start, id, 1, 0, &body)
            .bytes()
    };
    let bytes = reply(&[(0, 0xfff), (0x2000, 0x1fff)]);
    let expected = cap(CapError::InvertedRange {
        offset: start,
        index: 1,
    });
    push(
        cases,
        "range_ends_before_it_starts",
        "",
        kind,
        bytes,
        expected,
    );
    for (variant, list) in [
        ("all addresses", vec![(0, u64::MAX)]),
        ("a single one", vec![(0x1000, 0x1000)]),
        ("none", vec![]),
    ] {
        let ranges = list
            .iter()
            .map(|&(start, end)| IovaRange { start, end })
            .collect();
        let expected = vec![Capability {
            id: 1,
            version: 1,
            offset: start,
            next: 0,
            content: Content::IovaRange(ranges),
        }];
        push(
            cases,
            "range_with_its_end",
            variant,
            kind,
            reply(&list),
            Outcome::Whole(expected),
        );
    }
}
