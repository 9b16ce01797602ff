//! What must hold of every reply, and of what the crate makes of it.

use std::collections::HashSet;
use std::fmt::{Debug, Display};

use vfio_core::wire::abi;
use vfio_core::wire::caps::{Array, CapError, Caps, DeviceCap, RegionCap, Typed};
use vfio_core::wire::chain::{Chain, ChainError};
use vfio_core::wire::info::{
    DeviceInfo, HotResetInfo, InfoError, IommuInfo, IrqInfo, Malformed, RegionInfo,
};

use crate::areas;

/// Bytes of a capability's header.
const HEADER: usize = 8;

/// A capability's header as it stands in a reply: its offset, id, version and next.
type Header = (u32, u16, u16, u32);

/// Interprets a reply as each of the five, and checks what comes out.
///
/// # Panics
/// A rule is broken.
pub fn check_all(reply: &[u8]) {
    // The same bytes at another address: nothing may depend on how they are aligned.
    let mut copy = vec![0; reply.len() + 1];
    copy[1..].copy_from_slice(reply);
    let moved = &copy[1..];

    check_device(reply);
    assert_eq!(DeviceInfo::decode(reply), DeviceInfo::decode(moved));
    check_region(reply);
    assert_eq!(RegionInfo::decode(reply), RegionInfo::decode(moved));
    check_iommu(reply);
    assert_eq!(IommuInfo::decode(reply), IommuInfo::decode(moved));
    check_irq(reply);
    assert_eq!(IrqInfo::decode(reply), IrqInfo::decode(moved));
    check_hot_reset(reply);
    assert_eq!(HotResetInfo::decode(reply), HotResetInfo::decode(moved));
}

fn check_device(reply: &[u8]) {
    match DeviceInfo::decode(reply) {
        Ok(info) => {
            assert_eq!(info.flags.bits(), word(reply, 4));
            assert_eq!(info.num_regions, word(reply, 8));
            assert_eq!(info.num_irqs, word(reply, 12));
            let announced = info.flags.contains(abi::DeviceFlags::CAPS);
            check_caps(reply, 20, announced.then(|| word(reply, 16)), &info.caps);
            for cap in info.caps {
                if let DeviceCap::ZpciUtil { util_str: bytes }
                | DeviceCap::ZpciPfip { pfip: bytes } = cap
                {
                    assert!(holds(reply, bytes));
                }
            }
        }
        Err(error) => check_error(reply, &error, 16, 20, 16),
    }
}

fn check_region(reply: &[u8]) {
    match RegionInfo::decode(reply) {
        Ok(info) => {
            assert_eq!(info.flags.bits(), word(reply, 4));
            assert_eq!(info.index, word(reply, 8));
            assert_eq!(info.size, long(reply, 16));
            assert_eq!(info.offset, long(reply, 24));
            let announced = info.flags.contains(abi::RegionFlags::CAPS);
            check_caps(reply, 32, announced.then(|| word(reply, 12)), &info.caps);
            for cap in info.caps {
                if let RegionCap::SparseMmap(sparse) = cap {
                    check_array(reply, &sparse.areas);
                    let list: Vec<_> = sparse.areas.iter().collect();
                    assert!(areas::fit(&list, info.size), "{list:?} was accepted");
                }
            }
            areas::check_coverage(&info);
        }
        Err(error) => {
            if let InfoError::Malformed(Malformed::Area { offset, .. }) = error {
                let at = usize::try_from(offset).unwrap();
                let count = usize::try_from(word(reply, at + HEADER)).unwrap();
                let list: Vec<_> = (0..count)
                    .map(|n| abi::RegionSparseMmapArea {
                        offset: long(reply, at + 16 + 16 * n),
                        size: long(reply, at + 24 + 16 * n),
                    })
                    .collect();
                assert!(!areas::fit(&list, long(reply, 16)), "{list:?} was refused");
            }
            check_error(reply, &error, 32, 32, 12);
        }
    }
}

fn check_iommu(reply: &[u8]) {
    match IommuInfo::decode(reply) {
        Ok(info) => {
            assert_eq!(info.flags.bits(), word(reply, 4));
            assert_eq!(info.iova_pgsizes, long(reply, 8));
            let announced = info.flags.contains(abi::IommuInfoFlags::CAPS);
            check_caps(reply, 24, announced.then(|| word(reply, 16)), &info.caps);
            if let Some(ranges) = info.iova_ranges() {
                check_array(reply, &ranges);
                assert!(ranges.iter().all(|range| range.start <= range.end));
            }
        }
        Err(error) => check_error(reply, &error, 16, 24, 16),
    }
}

fn check_irq(reply: &[u8]) {
    match IrqInfo::decode(reply) {
        Ok(info) => {
            let fields = [info.flags.bits(), info.index, info.count];
            assert_eq!(fields, [4, 8, 12].map(|at| word(reply, at)));
            assert!(argsz(reply) >= 16);
        }
        Err(error) => check_error(reply, &error, 16, 16, 0),
    }
}

fn check_hot_reset(reply: &[u8]) {
    match HotResetInfo::decode(reply) {
        Ok(info) => {
            assert_eq!(info.flags.bits(), word(reply, 4));
            check_array(reply, &info.devices);
            let count = usize::try_from(word(reply, 8)).unwrap();
            assert_eq!(info.devices.len(), count);
            assert!(12 + 8 * count <= argsz(reply));
        }
        Err(error) => check_error(reply, &error, 12, 12, 0),
    }
}

/// Checks the capabilities of a reply whose chain, where it announces one, starts at `first`.
fn check_caps<'a, C>(reply: &'a [u8], fixed: u32, first: Option<u32>, caps: &Caps<'a, C>)
where
    C: Typed<'a> + Debug + PartialEq,
{
    let whole = &reply[..argsz(reply)];
    let Some(first) = first else {
        assert!(caps.is_empty());
        assert_eq!((caps.iter().count(), caps.chain().iter().count()), (0, 0));
        return;
    };
    let expected = headers(whole, fixed, first).expect("a broken chain was accepted");
    let chain = caps.chain();
    // Bounded by hand: an iteration without end must fail, not hang.
    let seen: Vec<_> = chain.iter().take(expected.len() + 1).collect();
    let found: Vec<Header> = seen
        .iter()
        .map(|cap| (cap.offset, cap.id, cap.version, cap.next))
        .collect();
    assert_eq!(found, expected);
    assert!(found.len() <= whole.len() / HEADER);
    for cap in &seen {
        let start = usize::try_from(cap.offset).unwrap();
        let end = match cap.next {
            0 => whole.len(),
            next => usize::try_from(next).unwrap(),
        };
        assert!(std::ptr::eq(cap.bytes, &raw const whole[start..end]));
        assert_eq!(cap.body(), &whole[start + HEADER..end]);
    }

    let typed: Vec<C> = caps.iter().take(expected.len() + 1).collect();
    assert_eq!(typed.len(), expected.len(), "an iteration that ends early");
    let mut known = HashSet::new();
    for (raw, cap) in seen.iter().zip(&typed) {
        assert_eq!(C::parse(raw).as_ref(), Ok(cap));
        assert!(
            !C::is_known(raw.id, raw.version) || known.insert(raw.id),
            "{} twice",
            raw.id
        );
    }
    assert_eq!(Chain::parse(whole, fixed, first), Ok(chain));
}

/// Checks that an error is a true one; `first` is where the reply says where its chain starts, 0
/// where it can't.
fn check_error<H: Debug>(reply: &[u8], error: &InfoError<H>, min: u32, fixed: u32, first: usize) {
    assert!(!error.to_string().is_empty());
    match *error {
        InfoError::TooSmall { needed, .. } => {
            assert!(
                needed > u64::try_from(reply.len()).unwrap(),
                "{needed} bytes are asked for, and {} are there",
                reply.len()
            );
        }
        InfoError::Malformed(malformed) => {
            check_text(&malformed);
            assert!(!malformed.kind().is_empty());
            match malformed {
                Malformed::Truncated { len, min: at_least } => {
                    assert_eq!((Ok(len), at_least), (u32::try_from(reply.len()), min));
                    assert!(len < min);
                }
                Malformed::ArgszBelowStruct {
                    argsz: said,
                    min: at_least,
                } => {
                    assert_eq!(said, word(reply, 0));
                    assert!(said < at_least && at_least >= min);
                }
                Malformed::DevicesOutOfBounds { count, argsz: said } => {
                    assert_eq!((count, said), (word(reply, 8), word(reply, 0)));
                    let listed = 12 + 8 * u64::from(count);
                    let len = u64::try_from(reply.len()).unwrap();
                    assert!(u64::from(said) < listed && listed <= len);
                }
                Malformed::WrongIndex { .. } => panic!("nothing was asked for"),
                Malformed::Cap(error) => {
                    check_text(&error);
                    check_cap_error(&reply[..argsz(reply)], error, fixed, first);
                }
                Malformed::Area { error, .. } => check_text(&error),
            }
        }
    }
}

fn check_cap_error(whole: &[u8], error: CapError, fixed: u32, first: usize) {
    assert_ne!(first, 0, "{error} without a chain");
    // The field may lie past argsz: then there is no chain.
    let start = if whole.len() < first + 4 {
        0
    } else {
        word(whole, first)
    };
    let chain = headers(whole, fixed, start);
    let all = match &chain {
        Ok(all) | Err((all, _)) => all,
    };
    match error {
        CapError::Chain(error) => {
            check_text(&error);
            let (_, expected) = chain.expect_err("a whole chain was refused");
            assert_eq!(error, expected);
        }
        CapError::Truncated { offset, id, len } => {
            assert!(all.iter().any(|cap| (cap.0, cap.1) == (offset, id)));
            assert!(usize::try_from(len).unwrap() <= whole.len());
        }
        CapError::CountOutOfBounds { offset, id, .. } => {
            assert!(all.iter().any(|cap| (cap.0, cap.1) == (offset, id)));
        }
        CapError::Duplicate { offset, id } => {
            let before = all.iter().filter(|cap| cap.0 < offset);
            assert!(before.filter(|cap| cap.1 == id).count() > 0);
        }
        CapError::InvertedRange { offset, index } => {
            let at = usize::try_from(offset).unwrap() + 16 + 16 * usize::try_from(index).unwrap();
            assert!(long(whole, at + 8) < long(whole, at));
        }
    }
}

/// Follows a chain: its headers, or those up to where it breaks.
fn headers(whole: &[u8], fixed: u32, first: u32) -> Result<Vec<Header>, (Vec<Header>, ChainError)> {
    let mut found: Vec<Header> = Vec::new();
    if first == 0 {
        return Err((found, ChainError::Missing));
    }
    if first < fixed {
        let offset = first;
        return Err((found, ChainError::InsideStruct { offset, fixed }));
    }
    let len = u32::try_from(whole.len()).unwrap();
    let mut at = first;
    loop {
        if u64::from(at) + 8 > u64::from(len) {
            return Err((found, ChainError::OutOfBounds { offset: at, len }));
        }
        let start = usize::try_from(at).unwrap();
        let id_and_version = word(whole, start).to_ne_bytes();
        let [a, b, c, d] = id_and_version;
        let next = word(whole, start + 4);
        if next != 0 && u64::from(next) < u64::from(at) + 8 {
            return Err((found, ChainError::NotIncreasing { offset: at, next }));
        }
        found.push((
            at,
            u16::from_ne_bytes([a, b]),
            u16::from_ne_bytes([c, d]),
            next,
        ));
        if next == 0 {
            return Ok(found);
        }
        at = next;
    }
}

/// Checks that the elements lie in the reply, and that all ways to them agree.
fn check_array<T>(reply: &[u8], array: &Array<'_, T>)
where
    T: Copy + Debug + PartialEq,
    for<'a> Array<'a, T>: Bytes,
{
    let all: Vec<T> = array.iter().collect();
    assert_eq!(all.len(), array.len());
    assert_eq!(all.is_empty(), array.is_empty());
    assert_eq!(array.get(all.len()), None);
    assert_eq!(array.get(usize::MAX), None);
    assert!(
        all.iter()
            .enumerate()
            .all(|(n, element)| array.get(n) == Some(*element))
    );
    assert!(holds(&reply[..argsz(reply)], array.bytes()));
    assert_eq!(array.bytes().len(), size_of::<T>() * all.len());
}

/// Checks that a description is JSON in which no field stands twice.
///
/// # Panics
/// It is not.
pub fn check_json(description: &impl serde::Serialize) {
    let text = serde_json::to_string(description).expect("can't be written");
    let read: serde_json::Value = serde_json::from_str(&text).expect("can't be read");
    // A field that stands twice is read once: the text would be shorter.
    assert_eq!(read.to_string(), text);
}

/// What has bytes in a reply.
trait Bytes {
    fn bytes(&self) -> &[u8];
}

impl Bytes for Array<'_, abi::RegionSparseMmapArea> {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Bytes for Array<'_, abi::IovaRange> {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Bytes for Array<'_, abi::PciDependentDevice> {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// Tells whether `part` is a part of `whole`: the same memory, not the same bytes.
fn holds(whole: &[u8], part: &[u8]) -> bool {
    let (outer, inner) = (whole.as_ptr_range(), part.as_ptr_range());
    part.is_empty() || (outer.start <= inner.start && inner.end <= outer.end)
}

fn check_text(error: &impl Display) {
    assert!(!error.to_string().is_empty());
}

/// Returns argsz of a reply that has it.
fn argsz(reply: &[u8]) -> usize {
    usize::try_from(word(reply, 0)).unwrap()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}
