//! Properties of every configuration space.

use std::collections::HashSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use vfio_core::pci::{Config, Entry, ExtendedId, Snapshot, StandardId};

use crate::space::{Error, Space, extended_ids, standard_ids};

/// What a walk yields.
type List = Vec<Result<Entry, Error>>;

/// Reads all that there is of a space.
fn read_all(bytes: &[u8]) -> (List, List) {
    let config = Config::new(Snapshot(bytes));
    let standard: Vec<_> = config.capabilities().collect();
    let extended: Vec<_> = config.extended_capabilities().collect();
    for entry in standard.iter().chain(&extended).flatten() {
        let _ = entry.decode(&config);
    }
    if let Ok(bars) = config.bars() {
        assert!(bars.iter().count() <= 6);
    }
    let _ = (config.id(), config.class(), config.header_type());
    let _ = (config.subsystem(), config.expansion_rom());
    (standard, extended)
}

/// Checks what a walk yields: entries at distinct places in bounds, and an error only at the end.
fn check_list(
    list: &[Result<Entry, Error>],
    bounds: std::ops::Range<usize>,
) -> Result<(), TestCaseError> {
    let entries: Vec<_> = list.iter().flatten().collect();
    let errors = list.len() - entries.len();
    prop_assert!(errors <= 1);
    prop_assert_eq!(errors, usize::from(list.last().is_some_and(Result::is_err)));
    let places: HashSet<_> = entries.iter().map(|entry| entry.offset).collect();
    prop_assert_eq!(places.len(), entries.len());
    for offset in places {
        let offset = usize::from(offset);
        prop_assert_eq!(offset % 4, 0);
        prop_assert!(bounds.contains(&offset) && offset + 4 <= bounds.end);
    }
    prop_assert!(entries.len() <= bounds.len() / 4);
    Ok(())
}

fn check_space(bytes: &[u8]) -> Result<(), TestCaseError> {
    let (standard, extended) = read_all(bytes);
    check_list(&standard, 0x40..bytes.len().clamp(0x40, 0x100))?;
    check_list(&extended, 0x100..bytes.len().clamp(0x100, 0x1000))
}

/// Makes a function of chance bytes: of type 0, with a list.
fn present(bytes: &mut [u8]) {
    for (offset, value) in [(0x06, 0x10), (0x0e, 0)] {
        if let Some(byte) = bytes.get_mut(offset) {
            *byte = value;
        }
    }
}

/// Returns a list in any order: places, and what lies there.
fn placed<I: Clone + std::fmt::Debug>(
    places: std::ops::Range<u16>,
    most: usize,
    ids: impl Strategy<Value = I>,
) -> impl Strategy<Value = Vec<(u16, I)>> {
    let places: Vec<_> = places.step_by(4).collect();
    (subsequence(places, 0..=most), vec(ids, most))
        .prop_map(|(places, ids)| places.into_iter().zip(ids).collect::<Vec<_>>())
        .prop_shuffle()
}

proptest! {
    #[test]
    fn any_bytes_are_read(bytes in vec(any::<u8>(), 0..=300)) {
        check_space(&bytes)?;
    }

    #[test]
    fn any_bytes_with_lists_are_read(mut bytes in select(vec![256, 4096, 5000]).prop_flat_map(|len| vec(any::<u8>(), len))) {
        present(&mut bytes);
        check_space(&bytes)?;
    }

    /// Reads spaces that differ by few bits from a sound list: most walks go far before they fail.
    #[test]
    fn nearly_sound_spaces_are_read(
        list in placed(0x40..0x100, 48, any::<u8>()),
        extended in placed(0x104..0x1000, 959, any::<u16>()),
        flips in vec((0..4096_usize, 0..8_u8), 0..8),
    ) {
        let mut space = written(&list, &extended);
        for (offset, bit) in flips {
            space.0[offset] ^= 1 << bit;
        }
        check_space(&space.0)?;
    }

    #[test]
    fn what_is_written_is_read(
        list in placed(0x40..0x100, 48, any::<u8>()),
        extended in placed(0x104..0x1000, 959, any::<u16>()),
    ) {
        let space = written(&list, &extended);
        let expected: Vec<_> = list
            .iter()
            .map(|&(offset, id)| (offset, StandardId(id)))
            .collect();
        prop_assert_eq!(standard_ids(&space.list()), expected);
        let anchor = (0x100, ExtendedId::VC, 1);
        let expected: Vec<_> = std::iter::once(anchor)
            .chain(extended.iter().map(|&(offset, id)| (offset, ExtendedId(id), 1)))
            .collect();
        prop_assert_eq!(extended_ids(&space.extended_list()), expected);
    }
}

/// Returns a space with these lists, the extended one behind a capability at 0x100.
fn written(list: &[(u16, u8)], extended: &[(u16, u16)]) -> Space<4096> {
    let places: Vec<_> = list
        .iter()
        .map(|(offset, _)| u8::try_from(*offset).unwrap())
        .collect();
    let next = |index: usize| places.get(index).copied().unwrap_or(0);
    let mut space = Space::with_list(next(0));
    for (index, (place, (_, id))) in places.iter().zip(list).enumerate() {
        space = space.standard(*place, StandardId(*id), next(index + 1));
    }
    let next = |index: usize| extended.get(index).map_or(0, |(offset, _)| *offset);
    space = space.extended(0x100, ExtendedId::VC, next(0));
    for (index, (offset, id)) in extended.iter().enumerate() {
        space = space.extended(*offset, ExtendedId(*id), next(index + 1));
    }
    space
}
