//! Sizes: argsz, and the count of a list that follows the structure.

use vfio_core::wire::chain::ChainError;
use vfio_core::wire::info::Malformed;

use super::{Case, known, link, push};
use crate::outcome::{Kind, Outcome};
use crate::reply::Reply;

/// Adds replies whose argsz says something else than the buffer's length.
pub(super) fn sizes(kind: Kind, cases: &mut Vec<Case>) {
    let min = kind.min();
    for argsz in [0, 1, 4, min - 1] {
        let bytes = Reply::new(kind, kind.size()).argsz(argsz).bytes();
        let expected = Outcome::Malformed(Malformed::ArgszBelowStruct { argsz, min });
        push(
            cases,
            "argsz_is_below_the_structure",
            format!("{argsz}"),
            kind,
            bytes,
            expected,
        );
    }
    for argsz in [u32::MAX, 1 << 31] {
        let bytes = Reply::new(kind, kind.size()).argsz(argsz).bytes();
        let expected = Outcome::TooSmall {
            needed: argsz.into(),
        };
        push(
            cases,
            "argsz_is_huge",
            format!("{argsz:#x}"),
            kind,
            bytes,
            expected,
        );
    }
    // The chain is whole, and yet the reply says that there is more of it.
    if Kind::CHAINS.contains(&kind) {
        let start = kind.size();
        let (id, body, _) = known(kind);
        let bytes = Reply::new(kind, start + 16)
            .chain(start)
            .capability(start, id, 1, 0, &body)
            .argsz(start + 17)
            .bytes();
        let expected = Outcome::TooSmall {
            needed: u64::from(start) + 17,
        };
        push(
            cases,
            "argsz_is_larger_than_a_whole_chain",
            "",
            kind,
            bytes,
            expected,
        );
        // Where argsz shrinks, what stands behind it is not part of the reply.
        let bytes = Reply::new(kind, start + 16)
            .chain(start)
            .capability(start, id, 1, 0, &body)
            .argsz(start + 7)
            .bytes();
        let expected = link(ChainError::OutOfBounds {
            offset: start,
            len: start + 7,
        });
        push(cases, "chain_lies_behind_argsz", "", kind, bytes, expected);
    }
    if matches!(kind, Kind::Device | Kind::Iommu) {
        let bytes = Reply::new(kind, kind.size() + 16)
            .chain(kind.size())
            .argsz(16)
            .bytes();
        let expected = link(ChainError::Missing);
        push(
            cases,
            "cap_offset_lies_behind_argsz",
            "",
            kind,
            bytes,
            expected,
        );
    }
}

/// Adds lists of a hot reset, whose length follows from its count and not from argsz.
pub(super) fn hot_reset(cases: &mut Vec<Case>) {
    let kind = Kind::HotReset;
    for count in [2, 1 << 29, u32::MAX] {
        let bytes = Reply::new(kind, 20).word(8, count).bytes();
        let expected = Outcome::TooSmall {
            needed: 12 + 8 * u64::from(count),
        };
        push(
            cases,
            "more_devices_than_fit",
            format!("{count:#x}"),
            kind,
            bytes,
            expected,
        );
    }
    let bytes = Reply::new(kind, 64).argsz(12).word(8, 1).bytes();
    let expected = Outcome::Malformed(Malformed::DevicesOutOfBounds {
        count: 1,
        argsz: 12,
    });
    push(cases, "devices_lie_behind_argsz", "", kind, bytes, expected);
}
