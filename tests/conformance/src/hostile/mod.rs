//! Hostile, malformed and merely unusual replies, and what each must come to.
//!
//! Every case is a whole reply in a buffer of exactly its length, so that a reader of bytes, a
//! shim and a program can all be given it.

mod area;
mod body;
mod chain;
mod legal;
mod size;

use vfio_core::wire::abi::{AtomicCompFlags, RegionSubtype, RegionType};
use vfio_core::wire::caps::{CapError, RegionKind};
use vfio_core::wire::chain::ChainError;
use vfio_core::wire::info::Malformed;

use crate::capability::Content;
use crate::outcome::{Kind, Outcome};

/// A reply and what it must come to.
#[derive(Clone, Debug)]
pub struct Case {
    /// What is wrong or unusual; the cases of one row share it.
    pub row: &'static str,
    /// Which case of the row it is.
    pub variant: String,
    /// The ioctl that the reply is for; where it has an index, it is [`INDEX`](crate::reply::Reply::INDEX).
    pub kind: Kind,
    /// The buffer after the call.
    pub bytes: Vec<u8>,
    /// What it must come to.
    pub expected: Outcome,
}

/// An id that no kernel uses.
const UNKNOWN_ID: u16 = 0x7abc;

/// Returns all cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in Kind::CHAINS {
        chain::links(kind, &mut cases);
        chain::starts(kind, &mut cases);
        body::bodies(kind, &mut cases);
        body::lengths(kind, &mut cases);
        legal::legal(kind, &mut cases);
    }
    for kind in Kind::ALL {
        size::sizes(kind, &mut cases);
    }
    area::areas(&mut cases);
    area::ranges(&mut cases);
    size::hot_reset(&mut cases);
    cases
}

/// Returns a capability that every reader of the kind knows: its id, its body and what it says.
fn known(kind: Kind) -> (u16, Vec<u8>, Content) {
    let words = |a: u32, b: u32| [a.to_ne_bytes(), b.to_ne_bytes()].concat();
    match kind {
        Kind::Region => (
            2,
            words(0x8000_8086, 1),
            Content::Type(RegionKind::new(RegionType(0x8000_8086), RegionSubtype(1))),
        ),
        Kind::Device => (
            5,
            words(5, 0),
            Content::PciAtomicComp(AtomicCompFlags::COMP32 | AtomicCompFlags::COMP128),
        ),
        Kind::Iommu => (
            3,
            65535_u32.to_ne_bytes().to_vec(),
            Content::DmaAvail(65535),
        ),
        other => panic!("{other:?} has no capabilities"),
    }
}

/// Returns a capability that holds a counted array: its id, what stands between header and
/// elements, and the size of an element in bytes.
fn counted(kind: Kind, count: u32) -> (u16, Vec<u8>, u32) {
    let with_reserved = [count.to_ne_bytes(), [0; 4]].concat();
    match kind {
        Kind::Region | Kind::Iommu => (1, with_reserved, 16),
        Kind::Device => (3, count.to_ne_bytes().to_vec(), 1),
        other => panic!("{other:?} has no capabilities"),
    }
}

/// Returns the content of an unknown capability in `bytes` at `start..end`.
fn unknown(bytes: &[u8], id: u16, version: u16, start: u32, end: u32) -> Content {
    let raw = usize::try_from(start + 8).unwrap()..usize::try_from(end).unwrap();
    Content::Unknown {
        id,
        version,
        raw: bytes[raw].to_vec(),
    }
}

fn push(
    cases: &mut Vec<Case>,
    row: &'static str,
    variant: impl Into<String>,
    kind: Kind,
    bytes: Vec<u8>,
    expected: Outcome,
) {
    cases.push(Case {
        row,
        variant: variant.into(),
        kind,
        bytes,
        expected,
    });
}

fn link(error: ChainError) -> Outcome {
    Outcome::Malformed(Malformed::Cap(CapError::Chain(error)))
}

fn cap(error: CapError) -> Outcome {
    Outcome::Malformed(Malformed::Cap(error))
}
