//! Bodies of capabilities.

use vfio_core::caps::CapError;

use super::{Case, UNKNOWN_ID, cap, counted, known, push};
use crate::outcome::Kind;
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
