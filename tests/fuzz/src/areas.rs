//! Which bytes of a region may be mapped, by slower rules than the crate's.

use vfio_core::device::coverage::{Coverage, Reach, Stretch};
use vfio_core::wire::abi::RegionSparseMmapArea;
use vfio_core::wire::info::{Mappable, RegionInfo};

/// Sizes of pages in bytes that hosts have, and numbers that are none.
const PAGES: [u64; 8] = [0x1000, 0x4000, 0x1_0000, 1, 1 << 63, 0, 0x1001, u64::MAX];

/// Returns the first and the last of an area's bytes, plus one.
fn extent(area: &RegionSparseMmapArea) -> (u128, u128) {
    let start = u128::from(area.offset);
    (start, start + u128::from(area.size))
}

/// Tells whether all areas lie in a region of `size` bytes, and no two share a byte.
#[must_use]
pub fn fit(areas: &[RegionSparseMmapArea], size: u64) -> bool {
    let mut extents: Vec<_> = areas.iter().map(extent).collect();
    let inside = extents.iter().all(|(_, end)| *end <= u128::from(size));
    extents.retain(|(start, end)| start < end);
    extents.sort_unstable();
    inside && extents.windows(2).all(|pair| pair[0].1 <= pair[1].0)
}

/// Checks the coverage of a region on hosts with pages of any size.
///
/// # Panics
/// A rule is broken.
pub fn check_coverage(region: &RegionInfo<'_>) {
    let allowed: Vec<(u128, u128)> = match region.mappable() {
        Mappable::Nothing => Vec::new(),
        Mappable::Everything => vec![(0, region.size.into())],
        Mappable::Areas(sparse) => sparse.areas.iter().map(|area| extent(&area)).collect(),
    };
    for page in PAGES {
        // Each area is one mapped stretch at most, with a trapped one before and after it.
        let limit = 2 * allowed.len() + 1;
        let spans: Vec<Stretch> = Coverage::new(region, page).take(limit + 1).collect();
        assert!(spans.len() <= limit, "{} spans", spans.len());
        check_spans(&spans, region.size, page, &allowed);
    }
}

fn check_spans(spans: &[Stretch], size: u64, page: u64, allowed: &[(u128, u128)]) {
    let mut at = 0;
    let mut mapped = 0_u128;
    for span in spans {
        assert_eq!(span.offset, at, "a gap before {span:?}");
        assert_ne!(span.size, 0, "{span:?} is empty");
        at = span.offset.checked_add(span.size).expect("ends past 2^64");
        if span.reach == Reach::Trapped {
            continue;
        }
        mapped += u128::from(span.size);
        assert!(page.is_power_of_two(), "{span:?} with pages of {page:#x}");
        assert_eq!(span.offset % page, 0, "{span:?} starts within a page");
        assert!(at % page == 0 || at == size, "{span:?} ends within a page");
        let (start, end) = (u128::from(span.offset), u128::from(at));
        let inside = allowed.iter().any(|area| area.0 <= start && end <= area.1);
        assert!(inside, "{span:?} is not in an area that may be mapped");
    }
    assert_eq!(at, size, "the spans end before the region does");
    if page.is_power_of_two() {
        let whole = allowed.iter().map(|area| whole_pages(*area, size, page));
        assert_eq!(mapped, whole.sum::<u128>(), "bytes mapped with {page:#x}");
    }
}

/// Returns how many bytes of an area lie in whole pages.
fn whole_pages((start, end): (u128, u128), size: u64, page: u64) -> u128 {
    let page = u128::from(page);
    let start = start.next_multiple_of(page);
    let end = if end == u128::from(size) {
        end
    } else {
        end / page * page
    };
    end.saturating_sub(start)
}
