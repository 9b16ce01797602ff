//! Every chain of up to four headers in a small buffer, compared with a model that is written
//! differently: the reader follows links, the model keeps a set of the bytes that are taken.
//!
//! What stands in a header matters only once a link has led to it. So the links are tried out
//! one behind the other, each with every value from 0 to past the end of the buffer, `cap_offset`
//! first; behind each link that leads to a header the next one is tried out.

use std::collections::BTreeSet;

use vfio_conformance::capability::Content;
use vfio_conformance::outcome::{Kind, Outcome, decode};
use vfio_conformance::reply::Reply;
use vfio_core::wire::caps::CapError;
use vfio_core::wire::chain::ChainError;
use vfio_core::wire::info::Malformed;

/// Bytes behind the structure: room for four headers, and for gaps of any length between them.
const ROOM: u32 = 36;

/// Headers whose links are tried out.
const DEPTH: usize = 4;

/// An id that no kernel uses; each header of a chain has another.
const ID: u16 = 0x7ab0;

/// A header of the model: where it stands, its id and its link.
type Header = (u32, u16, u32);

/// Reads a chain with a set of bytes that are taken. Each header must take eight bytes of the
/// buffer that are free, and must leave none free for a header in front of it.
fn model(kind: Kind, bytes: &[u8], first: u32) -> Result<Vec<Header>, ChainError> {
    let len = u32::try_from(bytes.len()).unwrap();
    let mut free: BTreeSet<u32> = (kind.chain_start()..len).collect();
    let mut headers: Vec<Header> = Vec::new();
    let mut link = first;
    loop {
        match headers.last() {
            None if link == 0 => return Err(ChainError::Missing),
            None if link < kind.chain_start() => {
                return Err(ChainError::InsideStruct {
                    offset: link,
                    fixed: kind.chain_start(),
                });
            }
            Some(_) if link == 0 => return Ok(headers),
            // In front of the chain, or in what a header has taken.
            Some(&(offset, ..)) if link < len && !free.contains(&link) => {
                return Err(ChainError::NotIncreasing { offset, next: link });
            }
            _ => (),
        }
        let wanted: BTreeSet<u32> = (link..link.saturating_add(8)).collect();
        if wanted.len() < 8 || !wanted.is_subset(&free) {
            return Err(ChainError::OutOfBounds { offset: link, len });
        }
        free.retain(|byte| *byte > link && !wanted.contains(byte));
        let at = usize::try_from(link).unwrap();
        let id = u16::from_ne_bytes(bytes[at..at + 2].try_into().unwrap());
        let next = u32::from_ne_bytes(bytes[at + 4..at + 8].try_into().unwrap());
        headers.push((link, id, next));
        link = next;
    }
}

/// Compares the reader with the model, and returns whether the chain was whole.
fn compare(kind: Kind, bytes: &[u8], first: u32) -> bool {
    let expected = model(kind, bytes, first);
    match (decode(kind, bytes), &expected) {
        (Outcome::Whole(caps), Ok(headers)) => {
            let mut seen = caps.iter();
            for (n, &(offset, id, next)) in headers.iter().enumerate() {
                let cap = seen.next().expect("a capability for each header");
                assert_eq!((cap.offset, cap.id, cap.next), (offset, id, next));
                let end = headers
                    .get(n + 1)
                    .map_or(bytes.len(), |next| next.0 as usize);
                let Content::Unknown { raw, .. } = &cap.content else {
                    panic!("an unknown id is {:?}", cap.content);
                };
                assert_eq!(raw[..], bytes[offset as usize + 8..end]);
            }
            assert_eq!(seen.next(), None);
            true
        }
        (Outcome::Malformed(Malformed::Cap(CapError::Chain(error))), Err(expected)) => {
            assert_eq!(error, *expected, "{kind:?}: {bytes:02x?}");
            false
        }
        (other, expected) => panic!("{kind:?}: {other:?}, not {expected:?}: {bytes:02x?}"),
    }
}

/// How many chains were compared, and how many of them were whole.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    all: u32,
    whole: u32,
}

/// Tries out all links of the header at `at`, the next of those in `chain`.
fn links(kind: Kind, reply: &Reply, chain: &mut Vec<u32>, first: u32, count: &mut Count) {
    let at = *chain.last().unwrap();
    let len = kind.size() + ROOM;
    let id = ID + u16::try_from(chain.len()).unwrap();
    for next in (0..=len + 1).chain([u32::MAX - 7, u32::MAX]) {
        let reply = reply.clone().header(at, id, 1, next);
        let bytes = reply.clone().bytes();
        count.all += 1;
        count.whole += u32::from(compare(kind, &bytes, first));
        if chain.len() < DEPTH && next >= at + 8 && next.saturating_add(8) <= len {
            chain.push(next);
            links(kind, &reply, chain, first, count);
            chain.pop();
        }
    }
}

fn all(kind: Kind) -> Count {
    let len = kind.size() + ROOM;
    let mut count = Count::default();
    for first in (0..=len + 1).chain([u32::MAX - 7, u32::MAX]) {
        let reply = Reply::new(kind, len).chain(first);
        count.all += 1;
        count.whole += u32::from(compare(kind, &reply.clone().bytes(), first));
        if first >= kind.chain_start() && first.saturating_add(8) <= len {
            links(kind, &reply, &mut vec![first], first, &mut count);
        }
    }
    count
}

/// Returns in how many ways `n` can be chosen from `of`.
fn choose(of: u32, n: u32) -> u32 {
    (0..n).fold(1, |ways, k| ways * (of - k) / (k + 1))
}

/// Compares all chains. As many must be whole as there are ways to place headers of eight bytes,
/// one to four of them, in the room for a chain. Each of these ways is behind a link of its own,
/// and its last header, as the structure, has all links tried out.
fn check(kind: Kind) {
    let len = kind.size() + ROOM;
    let room = len - kind.chain_start();
    let whole = (1..=4).map(|n| choose(room - 7 * n, n)).sum();
    let links = len + 4;
    let expected = Count {
        all: (1 + whole) * links,
        whole,
    };
    assert_eq!(all(kind), expected);
}

#[test]
fn chains_of_a_region() {
    check(Kind::Region);
}

#[test]
fn chains_of_a_device() {
    check(Kind::Device);
}

#[test]
fn chains_of_an_iommu() {
    check(Kind::Iommu);
}
