//! Bodies of capabilities.

use vfio_core::wire::abi::{AtomicCompFlags, RegionSubtype, RegionType};
use vfio_core::wire::caps::{CapError, RegionKind, ZpciBase, ZpciGroup};

use super::{Case, UNKNOWN_ID, cap, counted, known, push};
use crate::capability::{Capability, Content};
use crate::outcome::{Kind, Outcome};
use crate::reply::Reply;

/// Capabilities that hold less than they promise.
pub(super) fn bodies(kind: Kind, cases: &mut Vec<Case>) {
    let start = kind.size();
    let (id, body, _) = known(kind);

    // Room for two elements, and for what does not make a third.
    let (array, ..) = counted(kind, 0);
    let (_, fixed, size) = counted(kind, 3);
    let room = u32::try_from(8 + fixed.len()).unwrap() + 3 * size;
    for (variant, short) in [("by a byte", 1), ("by an element", size)] {
        let bytes = Reply::new(kind, start + room - short)
            .chain(start)
            .capability(start, array, 1, 0, &fixed)
            .bytes();
        let expected = cap(CapError::CountOutOfBounds {
            offset: start,
            id: array,
            count: 3,
        });
        push(
            cases,
            "count_is_one_more_than_fits",
            variant,
            kind,
            bytes,
            expected,
        );
    }
    // Room for all in the buffer, yet not in front of the next capability.
    let next = start + room - size;
    let bytes = Reply::new(kind, start + room + 16)
        .chain(start)
        .capability(start, array, 1, next, &fixed)
        .header(next, UNKNOWN_ID, 1, 0)
        .bytes();
    let expected = cap(CapError::CountOutOfBounds {
        offset: start,
        id: array,
        count: 3,
    });
    push(
        cases,
        "count_reaches_into_the_next_capability",
        "",
        kind,
        bytes,
        expected,
    );
    // At 16 bytes each, the sizes of some of these are small numbers modulo 2^32.
    for count in [1 << 28, (1 << 28) + 1, 1 << 31, u32::MAX] {
        let (_, fixed, _) = counted(kind, count);
        let bytes = Reply::new(kind, start + room)
            .chain(start)
            .capability(start, array, 1, 0, &fixed)
            .bytes();
        let expected = cap(CapError::CountOutOfBounds {
            offset: start,
            id: array,
            count,
        });
        push(
            cases,
            "count_is_huge",
            format!("{count:#x}"),
            kind,
            bytes,
            expected,
        );
    }

    for id in [id, array] {
        let bytes = Reply::new(kind, start + 8)
            .chain(start)
            .header(start, id, 1, 0)
            .bytes();
        let expected = cap(CapError::Truncated {
            offset: start,
            id,
            len: 8,
        });
        push(
            cases,
            "header_without_a_body_at_the_end",
            format!("id {id}"),
            kind,
            bytes,
            expected,
        );
    }
    let next = start + 8;
    let bytes = Reply::new(kind, start + 32)
        .chain(start)
        .header(start, id, 1, next)
        .header(next, UNKNOWN_ID, 1, 0)
        .bytes();
    let expected = cap(CapError::Truncated {
        offset: start,
        id,
        len: 8,
    });
    push(
        cases,
        "header_without_a_body_before_the_next",
        "",
        kind,
        bytes,
        expected,
    );

    for between in [0, 16] {
        let second = start + 16 + between;
        let mut reply =
            Reply::new(kind, second + 16)
                .chain(start)
                .capability(start, id, 1, start + 16, &body);
        if between != 0 {
            reply = reply.header(start + 16, UNKNOWN_ID, 1, second);
        }
        let bytes = reply.capability(second, id, 1, 0, &body).bytes();
        let expected = cap(CapError::Duplicate { offset: second, id });
        let variant = if between == 0 { "in a row" } else { "apart" };
        push(
            cases,
            "the_same_capability_twice",
            variant,
            kind,
            bytes,
            expected,
        );
    }
}

/// Returns the contents of the capabilities whose bodies are zeros: id, version, length in bytes
/// with the header, and content.
fn zeroed(kind: Kind) -> Vec<(u16, u16, u32, Content)> {
    let base = |fh, ccdf_err_length| {
        Content::ZpciBase(ZpciBase {
            fh,
            ccdf_err_length,
            ..Default::default()
        })
    };
    let group = |imaxstbl| {
        Content::ZpciGroup(ZpciGroup {
            imaxstbl,
            ..Default::default()
        })
    };
    match kind {
        Kind::Region => vec![
            (1, 1, 16, Content::SparseMmap(Vec::new())),
            (
                2,
                1,
                16,
                Content::Type(RegionKind::new(RegionType(0), RegionSubtype(0))),
            ),
            (3, 1, 8, Content::MsixMappable),
            (4, 1, 16, Content::Nvlink2Ssatgt(0)),
            (5, 1, 16, Content::Nvlink2Lnkspd(0)),
        ],
        // zPCI structures count as far as their last field; what pads them may be missing.
        Kind::Device => vec![
            (1, 1, 32, base(None, None)),
            (1, 2, 36, base(Some(0), None)),
            (1, 3, 40, base(Some(0), Some(0))),
            (2, 1, 39, group(None)),
            (2, 2, 42, group(Some(0))),
            (3, 1, 12, Content::ZpciUtil(Vec::new())),
            (4, 1, 12, Content::ZpciPfip(Vec::new())),
            (5, 1, 16, Content::PciAtomicComp(AtomicCompFlags::empty())),
        ],
        Kind::Iommu => vec![
            (1, 1, 16, Content::IovaRange(Vec::new())),
            (
                2,
                1,
                32,
                Content::Migration {
                    flags: 0,
                    pgsize_bitmap: 0,
                    max_dirty_bitmap_size: 0,
                },
            ),
            (3, 1, 12, Content::DmaAvail(0)),
        ],
        other => panic!("{other:?} has no capabilities"),
    }
}

/// Adds every known capability in exactly its length, and a byte shorter.
pub(super) fn lengths(kind: Kind, cases: &mut Vec<Case>) {
    let start = kind.size();
    for (id, version, len, content) in zeroed(kind) {
        let reply = |len| {
            Reply::new(kind, start + len)
                .chain(start)
                .capability(start, id, version, 0, &[0; 40])
                .bytes()
        };
        let variant = format!("id {id}, version {version}");
        let whole = Outcome::Whole(vec![Capability {
            id,
            version,
            offset: start,
            next: 0,
            content,
        }]);
        push(
            cases,
            "body_of_exactly_its_length",
            &*variant,
            kind,
            reply(len),
            whole,
        );
        if len > 8 {
            let expected = cap(CapError::Truncated {
                offset: start,
                id,
                len: len - 1,
            });
            push(
                cases,
                "body_a_byte_short",
                variant,
                kind,
                reply(len - 1),
                expected,
            );
        }
    }
}
