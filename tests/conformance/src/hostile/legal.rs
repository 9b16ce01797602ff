//! What is unusual, and legal.

use super::{Case, UNKNOWN_ID, counted, known, push, unknown};
use crate::capability::{Capability, Content};
use crate::outcome::{Kind, Outcome};
use crate::reply::Reply;

/// Replies that are unusual and legal: nothing of them may be lost.
pub(super) fn legal(kind: Kind, cases: &mut Vec<Case>) {
    let start = kind.size();
    let (id, body, content) = known(kind);

    for shift in [1, 2, 3, 4, 5, 7] {
        let (first, second) = (start + shift, start + shift + 19);
        let len = second + 8 + u32::try_from(body.len()).unwrap();
        let bytes = Reply::new(kind, len)
            .chain(first)
            .header(first, UNKNOWN_ID, 1, second)
            .capability(second, id, 1, 0, &body)
            .bytes();
        let expected = vec![
            Capability {
                id: UNKNOWN_ID,
                version: 1,
                offset: first,
                next: second,
                content: unknown(&bytes, UNKNOWN_ID, 1, first, second),
            },
            Capability {
                id,
                version: 1,
                offset: second,
                next: 0,
                content: content.clone(),
            },
        ];
        let variant = format!("{shift} bytes off");
        push(
            cases,
            "capabilities_without_alignment",
            variant,
            kind,
            bytes,
            Outcome::Whole(expected),
        );
    }

    for (variant, strange, version) in [
        ("next to a known one", UNKNOWN_ID, 1),
        ("id 0", 0, 0),
        ("id 65535", u16::MAX, u16::MAX),
    ] {
        let bytes = Reply::new(kind, start + 40)
            .chain(start)
            .capability(start, strange, version, start + 16, b"anything")
            .capability(start + 16, id, 1, 0, &body)
            .bytes();
        let expected = vec![
            Capability {
                id: strange,
                version,
                offset: start,
                next: start + 16,
                content: Content::Unknown {
                    id: strange,
                    version,
                    raw: b"anything".to_vec(),
                },
            },
            Capability {
                id,
                version: 1,
                offset: start + 16,
                next: 0,
                content: content.clone(),
            },
        ];
        push(
            cases,
            "unknown_id",
            variant,
            kind,
            bytes,
            Outcome::Whole(expected),
        );
    }

    let (array, fixed, _) = counted(kind, u32::MAX);
    for (id, body) in [(id, &body), (array, &fixed)] {
        for version in [0, 4, u16::MAX] {
            let bytes = Reply::new(kind, start + 24)
                .chain(start)
                .capability(start, id, version, 0, body)
                .bytes();
            let expected = vec![Capability {
                id,
                version,
                offset: start,
                next: 0,
                content: unknown(&bytes, id, version, start, start + 24),
            }];
            let variant = format!("id {id}, version {version}");
            push(
                cases,
                "unknown_version",
                variant,
                kind,
                bytes,
                Outcome::Whole(expected),
            );
        }
    }

    for offset in [start, 1, 0xa5a5_a5a5] {
        let bytes = Reply::new(kind, start + 24)
            .cap_offset(offset)
            .capability(start, id, 1, 0, &body)
            .bytes();
        let variant = format!("{offset:#x}");
        push(
            cases,
            "cap_offset_without_caps",
            variant,
            kind,
            bytes,
            Outcome::Whole(Vec::new()),
        );
    }
}
