//! The check of sparse areas agrees with a map that has a mark for every byte.

use proptest::prelude::*;
use vfio_core::wire::abi::RegionSparseMmapArea;
use vfio_core::wire::caps::{AreaError, SparseMmap};

/// Bytes of the map: no region here is larger.
const BYTES: u64 = 64;

/// Marks the bytes of each area, and names the first area that leaves the region; if none does,
/// the first area that marks a byte again, with the first that had marked one of its bytes.
fn marked(areas: &[RegionSparseMmapArea], size: u64) -> Result<(), AreaError> {
    let ends = |area: &RegionSparseMmapArea| u128::from(area.offset) + u128::from(area.size);
    for (index, area) in areas.iter().enumerate() {
        if ends(area) > u128::from(u64::MAX) {
            return Err(AreaError::Overflow { index });
        }
        if ends(area) > u128::from(size) {
            return Err(AreaError::PastEnd {
                index,
                region: size,
            });
        }
    }
    let mut owners: Vec<Vec<usize>> = vec![Vec::new(); usize::try_from(BYTES).unwrap()];
    for (second, area) in areas.iter().enumerate() {
        let bytes =
            (area.offset..area.offset + area.size).map(|byte| usize::try_from(byte).unwrap());
        let first = bytes
            .clone()
            .filter_map(|byte| owners[byte].iter().min().copied())
            .min();
        if let Some(first) = first {
            return Err(AreaError::Overlap { first, second });
        }
        for byte in bytes {
            owners[byte].push(second);
        }
    }
    Ok(())
}

/// Returns an area within the map or a little past it, now and then at the end of all addresses.
fn area() -> impl Strategy<Value = RegionSparseMmapArea> {
    let near = (0..BYTES + 8, 0..24_u64);
    let far = (u64::MAX - 8..=u64::MAX, 0..16_u64);
    let vast = (0..BYTES, u64::MAX - BYTES..=u64::MAX);
    prop_oneof![40 => near, 1 => far, 1 => vast]
        .prop_map(|(offset, size)| RegionSparseMmapArea { offset, size })
}

/// Areas one behind the other, as a kernel lists them; they may end past the map.
fn ascending() -> impl Strategy<Value = Vec<RegionSparseMmapArea>> {
    proptest::collection::vec((0..6_u64, 0..12_u64), 0..8).prop_map(|steps| {
        let mut end = 0;
        let mut areas = Vec::new();
        for (gap, size) in steps {
            let offset = end + gap;
            end = offset + size;
            areas.push(RegionSparseMmapArea { offset, size });
        }
        areas
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn areas_at_random(areas in proptest::collection::vec(area(), 0..6), size in 0..=BYTES) {
        prop_assert_eq!(SparseMmap::new(&areas).check(size), marked(&areas, size));
    }

    #[test]
    fn areas_in_order(areas in ascending(), size in 0..=BYTES) {
        prop_assert_eq!(SparseMmap::new(&areas).check(size), marked(&areas, size));
    }

    /// Multiplies areas by a power of two: they fit or overlap as before, up to the end of
    /// addresses.
    #[test]
    fn vast_areas(
        (in_order, shuffled) in ascending().prop_flat_map(|areas| {
            (Just(areas.clone()), Just(areas).prop_shuffle())
        }),
        overlapping in proptest::collection::vec((0..BYTES, 0..24_u64), 0..6),
        size in 0..=BYTES,
        shift in 48..=56_u32,
    ) {
        let overlapping: Vec<_> = overlapping
            .into_iter()
            .map(|(offset, size)| RegionSparseMmapArea { offset, size })
            .collect();
        for areas in [in_order, shuffled, overlapping] {
            let vast: Vec<_> = areas
                .iter()
                .map(|area| RegionSparseMmapArea {
                    offset: area.offset << shift,
                    size: area.size << shift,
                })
                .collect();
            let expected = marked(&areas, size).map_err(|error| match error {
                AreaError::PastEnd { index, region } => AreaError::PastEnd {
                    index,
                    region: region << shift,
                },
                error => error,
            });
            prop_assert_eq!(SparseMmap::new(&vast).check(size << shift), expected);
        }
    }

    #[test]
    fn areas_in_any_order(areas in ascending().prop_shuffle(), size in 0..=BYTES) {
        prop_assert_eq!(SparseMmap::new(&areas).check(size), marked(&areas, size));
    }
}

#[test]
fn all_pairs_of_areas_in_a_small_region() {
    let mut checked = 0;
    for size in 0..=5 {
        for code in 0..7_u64.pow(4) {
            let digit = |n: u32| code / 7_u64.pow(n) % 7;
            let areas = [0, 2].map(|n| RegionSparseMmapArea {
                offset: digit(n),
                size: digit(n + 1),
            });
            assert_eq!(
                SparseMmap::new(&areas).check(size),
                marked(&areas, size),
                "{areas:?} in {size} bytes"
            );
            checked += 1;
        }
    }
    assert_eq!(checked, 6 * 2401);
}
