//! Hostile replies come to exactly the error, or the result, that they must come to: as bytes,
//! and through the question that a driver asks.

use std::collections::BTreeMap;

use vfio_conformance::hostile::{Case, cases};
use vfio_conformance::outcome::{Kind, Outcome, ask, decode};
use vfio_conformance::reply::Reply;
use vfio_conformance::scripted::{Growing, Scripted};
use vfio_core::query::{self, MAX_CALLS, QueryError, Staged};
use vfio_core::sys::{Errno, InfoRequest};
use vfio_core::wire::abi::RegionCapId;
use vfio_core::wire::caps::RegionCap;
use vfio_core::wire::info::{Malformed, Mappable, RegionInfo};

/// Returns a kernel that always gives the same reply.
fn gives(reply: &[u8]) -> impl FnMut(u32, InfoRequest, &mut [u8]) -> Result<(), Errno> {
    move |_, _, buffer| {
        buffer
            .iter_mut()
            .zip(reply)
            .for_each(|(to, from)| *to = *from);
        Ok(())
    }
}

/// Gives a case to the reader, and to the question with a fixed and with a growing buffer.
fn check(case: &Case) {
    let what = format!("{} ({}), {:?}", case.row, case.variant, case.kind);
    assert_eq!(
        decode(case.kind, &case.bytes),
        case.expected,
        "{what}: read"
    );

    let world = Scripted::new(gives(&case.bytes));
    let mut fixed = vec![0x5a; case.bytes.len()];
    let answer = ask(case.kind, &world, &(), Reply::INDEX, &mut fixed[..]);
    assert_eq!(answer, case.expected, "{what}: asked with a fixed buffer");
    assert_eq!(world.calls(), 1, "{what}: asked with a fixed buffer");

    // It may grow, and not as far as the cases with a huge argsz ask for.
    let world = Scripted::new(gives(&case.bytes));
    let mut growing = Growing::new(case.bytes.len(), case.bytes.len());
    let answer = ask(case.kind, &world, &(), Reply::INDEX, &mut growing);
    assert_eq!(answer, case.expected, "{what}: asked with a growing buffer");
    assert_eq!(world.calls(), 1, "{what}: asked with a growing buffer");
}

/// A test for each row of the table, with the number of cases in it.
macro_rules! rows {
    ($($row:ident: $count:literal,)*) => {
        const ROWS: &[(&str, usize)] = &[$((stringify!($row), $count)),*];

        mod rows {
            $(
                #[test]
                fn $row() {
                    let row: Vec<_> = super::cases()
                        .into_iter()
                        .filter(|case| case.row == stringify!($row))
                        .collect();
                    assert_eq!(row.len(), $count);
                    row.iter().for_each(super::check);
                }
            )*
        }
    };
}

rows! {
    next_is_its_own_header: 6,
    cycle_of_two: 3,
    next_goes_back: 6,
    next_is_inside_its_own_header: 9,
    next_is_inside_the_structure: 9,
    next_is_outside: 18,
    next_straddles_the_end: 9,
    cap_offset_is_outside: 15,
    cap_offset_straddles_the_end: 9,
    cap_offset_is_inside_the_structure: 15,
    caps_without_a_chain: 6,
    count_is_one_more_than_fits: 6,
    count_reaches_into_the_next_capability: 3,
    count_is_huge: 12,
    header_without_a_body_at_the_end: 6,
    header_without_a_body_before_the_next: 3,
    body_of_exactly_its_length: 16,
    body_a_byte_short: 15,
    the_same_capability_twice: 6,
    capabilities_without_alignment: 18,
    unknown_id: 9,
    unknown_version: 18,
    cap_offset_without_caps: 9,
    argsz_is_below_the_structure: 20,
    argsz_is_huge: 10,
    argsz_is_larger_than_a_whole_chain: 3,
    chain_lies_behind_argsz: 3,
    cap_offset_lies_behind_argsz: 2,
    area_ends_past_the_region: 3,
    area_overflows: 2,
    areas_overlap: 4,
    areas_without_alignment: 2,
    area_of_size_zero: 3,
    no_areas: 1,
    nine_areas: 1,
    range_ends_before_it_starts: 1,
    range_with_its_end: 3,
    more_devices_than_fit: 3,
    devices_lie_behind_argsz: 1,
}

#[test]
fn every_row_of_the_table_is_tested() {
    let mut counts = BTreeMap::new();
    for case in cases() {
        *counts.entry(case.row).or_insert(0) += 1;
    }
    assert_eq!(counts, ROWS.iter().copied().collect());
}

/// Returns a kernel whose answer is always a little longer than the buffer.
fn grows_on_every_call(
    kind: Kind,
    announces: bool,
) -> impl FnMut(u32, InfoRequest, &mut [u8]) -> Result<(), Errno> {
    move |_, _, buffer| {
        let len = u32::try_from(buffer.len()).unwrap();
        let mut reply = Reply::new(kind, kind.size()).argsz(len + 8);
        if announces {
            reply = reply.chain(0);
        }
        buffer
            .iter_mut()
            .zip(reply.bytes())
            .for_each(|(to, from)| *to = from);
        Ok(())
    }
}

#[test]
fn argsz_that_grows_on_every_call_is_asked_for_a_bounded_number_of_times() {
    for kind in Kind::CHAINS {
        let size = u64::from(kind.size());
        // A kernel announces the chain that does not fit; a vfio-user server does not.
        for announces in [false, true] {
            let world = Scripted::new(grows_on_every_call(kind, announces));
            let mut growing = Growing::new(kind.size() as usize, 1 << 20);
            let answer = ask(kind, &world, &(), Reply::INDEX, &mut growing);
            assert_eq!(world.calls(), MAX_CALLS, "{kind:?}");
            let needed = size + 8 * u64::from(MAX_CALLS);
            assert_eq!(answer, Outcome::TooSmall { needed }, "{kind:?}");

            let world = Scripted::new(grows_on_every_call(kind, announces));
            let mut fixed = vec![0; kind.size() as usize];
            let answer = ask(kind, &world, &(), Reply::INDEX, &mut fixed[..]);
            assert_eq!(world.calls(), 1, "{kind:?}");
            assert_eq!(answer, Outcome::TooSmall { needed: size + 8 }, "{kind:?}");

            let world = Scripted::new(grows_on_every_call(kind, announces));
            let (mut small, mut large) = (vec![0; kind.size() as usize], vec![0; 256]);
            let mut staged = Staged::new(&mut small, &mut large);
            let answer = ask(kind, &world, &(), Reply::INDEX, &mut staged);
            assert_eq!(world.calls(), 2, "{kind:?}");
            assert_eq!(answer, Outcome::TooSmall { needed: 264 }, "{kind:?}");
        }
    }
}

#[test]
fn a_list_of_devices_that_grows_on_every_call_is_asked_for_a_bounded_number_of_times() {
    for failure in [Ok(()), Err(Errno::ENOSPC)] {
        let world = Scripted::new(|_, _, buffer: &mut [u8]| {
            let fits = u32::try_from((buffer.len() - 12) / 8).unwrap();
            buffer[4..8].fill(0);
            buffer[8..12].copy_from_slice(&(fits + 1).to_ne_bytes());
            failure
        });
        let mut growing = Growing::new(12, 1 << 20);
        let answer = ask(Kind::HotReset, &world, &(), 0, &mut growing);
        assert_eq!(world.calls(), MAX_CALLS);
        let needed = 12 + 8 * u64::from(MAX_CALLS);
        assert_eq!(answer, Outcome::TooSmall { needed });
    }
}

#[test]
fn an_answer_that_settles_is_found() {
    for kind in Kind::CHAINS {
        for settles in 0..MAX_CALLS {
            let mut grows = grows_on_every_call(kind, true);
            let world = Scripted::new(|call, asked, buffer: &mut [u8]| {
                if call < settles {
                    return grows(call, asked, buffer);
                }
                let len = u32::try_from(buffer.len()).unwrap();
                let reply = Reply::new(kind, len.max(kind.size() + 8))
                    .argsz(len)
                    .chain(kind.size())
                    .header(kind.size(), 0x7abc, 1, 0);
                gives(&reply.bytes())(call, asked, buffer)
            });
            let mut growing = Growing::new(kind.size() as usize + 8, 1 << 20);
            match ask(kind, &world, &(), Reply::INDEX, &mut growing) {
                Outcome::Whole(caps) => assert_eq!(caps.len(), 1),
                other => panic!("{kind:?}: {other:?}"),
            }
            assert_eq!(world.calls(), settles + 1, "{kind:?}");
        }
    }
}

#[test]
fn a_buffer_shorter_than_the_structure_is_an_error() {
    for kind in Kind::ALL {
        for len in 0..kind.min() {
            let reply = vec![0xff; len as usize];
            let expected = Outcome::Malformed(Malformed::Truncated {
                len,
                min: kind.min(),
            });
            assert_eq!(decode(kind, &reply), expected);
        }
    }
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Irq) {
        for len in 0..kind.size() {
            let world = Scripted::new(|_, _, _: &mut [u8]| Ok(()));
            let mut buffer = vec![0xff; len as usize];
            let answer = ask(kind, &world, &(), Reply::INDEX, &mut buffer[..]);
            let min = kind.size();
            let expected = Outcome::Malformed(Malformed::Truncated { len, min });
            assert_eq!((answer, world.calls()), (expected, 0));
        }
    }
}

#[test]
fn an_error_number_reaches_the_caller() {
    for kind in Kind::ALL {
        for errno in [Errno::EINVAL, Errno::ENODEV, Errno::ENOTTY, Errno(4095)] {
            let world = Scripted::new(|_, _, _: &mut [u8]| Err(errno));
            let mut buffer = Growing::new(64, 4096);
            let answer = ask(kind, &world, &(), Reply::INDEX, &mut buffer);
            assert_eq!((answer, world.calls()), (Outcome::Errno(errno), 1));
        }
    }
}

#[test]
fn an_index_that_is_not_there_shifts_no_other() {
    let world = Scripted::new(|_, _, buffer: &mut [u8]| {
        let index = u32::from_ne_bytes(buffer[8..12].try_into().unwrap());
        if index == 8 {
            Err(Errno::EINVAL)
        } else {
            Ok(())
        }
    });
    let seen: Vec<_> = (7..10)
        .map(|index| {
            let mut buffer = [0; 32];
            query::region(&world, &(), index, &mut buffer).map(|info| info.index)
        })
        .collect();
    assert_eq!(seen, [Ok(7), Err(QueryError::Errno(Errno::EINVAL)), Ok(9)]);
}

#[test]
fn a_reply_for_another_index_is_an_error() {
    for (kind, size) in [(Kind::Region, 32), (Kind::Irq, 16)] {
        let reply = Reply::new(kind, size).bytes();
        let world = Scripted::new(gives(&reply));
        let mut buffer = [0; 64];
        let answer = ask(kind, &world, &(), 4, &mut buffer[..size as usize]);
        let expected = Malformed::WrongIndex {
            asked: 4,
            got: Reply::INDEX,
        };
        assert_eq!(answer, Outcome::Malformed(expected));
    }
}

#[test]
fn a_region_whose_areas_are_not_understood_may_not_be_mapped() {
    let (kind, start) = (Kind::Region, Kind::Region.size());
    let sparse = RegionCapId::SPARSE_MMAP.0;
    let reply = Reply::new(kind, start + 32)
        .chain(start)
        .header(start, sparse, 2, 0)
        .bytes();
    let info = RegionInfo::decode(&reply).unwrap();
    assert!(matches!(info.caps.iter().next(), Some(RegionCap::Unknown(cap)) if cap.id == sparse));
    assert_eq!(info.mappable(), Mappable::Nothing);
    let whole = Reply::new(kind, start).bytes();
    assert_eq!(
        RegionInfo::decode(&whole).unwrap().mappable(),
        Mappable::Everything
    );
}
