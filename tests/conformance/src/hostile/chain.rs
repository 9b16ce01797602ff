//! Links and starts of chains.

use vfio_core::wire::chain::ChainError;

use super::{Case, UNKNOWN_ID, known, link, push};
use crate::outcome::Kind;
use crate::reply::Reply;

/// Links that lead astray. A known capability, and two unknown ones, each 16 bytes long.
pub(super) fn links(kind: Kind, cases: &mut Vec<Case>) {
    let start = kind.size();
    let (second, third, len) = (start + 16, start + 32, start + 48);
    let (id, body, _) = known(kind);
    let chain = |nexts: [u32; 3]| {
        Reply::new(kind, len)
            .chain(start)
            .capability(start, id, 1, nexts[0], &body)
            .header(second, UNKNOWN_ID, 1, nexts[1])
            .header(third, UNKNOWN_ID, 1, nexts[2])
            .bytes()
    };
    let back = |offset, next| link(ChainError::NotIncreasing { offset, next });
    let outside = |offset| link(ChainError::OutOfBounds { offset, len });

    push(
        cases,
        "next_is_its_own_header",
        "first",
        kind,
        chain([start, 0, 0]),
        back(start, start),
    );
    push(
        cases,
        "next_is_its_own_header",
        "last",
        kind,
        chain([second, third, third]),
        back(third, third),
    );
    push(
        cases,
        "cycle_of_two",
        "",
        kind,
        chain([second, start, 0]),
        back(second, start),
    );
    push(
        cases,
        "next_goes_back",
        "to the second",
        kind,
        chain([second, third, second]),
        back(third, second),
    );
    push(
        cases,
        "next_goes_back",
        "past the second",
        kind,
        chain([third, 0, second]),
        back(third, second),
    );
    for next in [start + 1, start + 4, start + 7] {
        let bytes = chain([next, 0, 0]);
        let variant = format!("{} bytes in", next - start);
        push(
            cases,
            "next_is_inside_its_own_header",
            variant,
            kind,
            bytes,
            back(start, next),
        );
    }
    for next in [1, 4, kind.chain_start() - 1] {
        let bytes = chain([second, next, 0]);
        let variant = format!("at {next}");
        push(
            cases,
            "next_is_inside_the_structure",
            variant,
            kind,
            bytes,
            back(second, next),
        );
    }
    for next in [len, len + 1, 0x1_0000, 0x7fff_fff8, 0xffff_fff8, u32::MAX] {
        let bytes = chain([second, next, 0]);
        push(
            cases,
            "next_is_outside",
            format!("at {next:#x}"),
            kind,
            bytes,
            outside(next),
        );
    }
    for next in [len - 7, len - 4, len - 1] {
        let bytes = chain([third, 0, next]);
        push(
            cases,
            "next_straddles_the_end",
            format!("at {next:#x}"),
            kind,
            bytes,
            outside(next),
        );
    }
}

/// Chains that start where none can.
pub(super) fn starts(kind: Kind, cases: &mut Vec<Case>) {
    let fixed = kind.chain_start();
    let len = kind.size() + 16;
    let reply = |first| Reply::new(kind, len).chain(first).bytes();
    let outside = |offset| link(ChainError::OutOfBounds { offset, len });

    for first in [len, len + 1, 0x1_0000, 0xa5a5_a5a5, u32::MAX] {
        let variant = format!("at {first:#x}");
        push(
            cases,
            "cap_offset_is_outside",
            variant,
            kind,
            reply(first),
            outside(first),
        );
    }
    for first in [len - 7, len - 4, len - 1] {
        let variant = format!("at {first:#x}");
        push(
            cases,
            "cap_offset_straddles_the_end",
            variant,
            kind,
            reply(first),
            outside(first),
        );
    }
    for first in [1, 4, 8, fixed - 4, fixed - 1] {
        let expected = link(ChainError::InsideStruct {
            offset: first,
            fixed,
        });
        let variant = format!("at {first}");
        push(
            cases,
            "cap_offset_is_inside_the_structure",
            variant,
            kind,
            reply(first),
            expected,
        );
    }
    for (variant, len) in [("with room", len), ("without room", kind.size())] {
        let bytes = Reply::new(kind, len).chain(0).bytes();
        push(
            cases,
            "caps_without_a_chain",
            variant,
            kind,
            bytes,
            link(ChainError::Missing),
        );
    }
}
