//! What is written is read, whatever it is; and whatever is read does no harm.

use std::cell::RefCell;
use std::mem::discriminant;

use proptest::collection::vec;
use proptest::prelude::*;
use vfio_conformance::capability::{Capability, Content, collect};
use vfio_conformance::outcome::{Kind, Outcome, ask, decode};
use vfio_conformance::reply::Reply;
use vfio_conformance::scripted::{Growing, Scripted};
use vfio_core::query::MAX_CALLS;
use vfio_core::sys::Errno;
use vfio_core::wire::abi::{
    AtomicCompFlags, IovaRange, RegionSparseMmapArea, RegionSubtype, RegionType, ZpciGroupFlags,
};
use vfio_core::wire::caps::{
    Caps, DeviceCap, IommuCap, RegionCap, RegionKind, Typed, ZpciBase, ZpciGroup,
};
use vfio_core::wire::chain::{Align, Writer};
use vfio_core::wire::info::Malformed;
use vfio_core::wire::server::{DeviceReply, Dialect, IommuDriver, IommuReply, RegionReply};

/// Returns an id or a version that is not known in any of the three spaces.
fn unknown() -> impl Strategy<Value = Content> {
    let names = prop_oneof![
        (6..=u16::MAX, any::<u16>()),
        (1..=5_u16, prop_oneof![Just(0), 4..=u16::MAX]),
        (Just(0), any::<u16>()),
    ];
    (names, vec(any::<u8>(), 0..20)).prop_map(|((id, version), raw)| Content::Unknown {
        id,
        version,
        raw,
    })
}

/// Areas that share no byte, in any order.
fn areas() -> impl Strategy<Value = Content> {
    let steps = vec((0..1_u64 << 40, 0..1_u64 << 40), 0..6);
    let ascending = steps.prop_map(|steps| {
        let mut end = 0;
        let mut areas = Vec::new();
        for (gap, size) in steps {
            let offset = end + gap;
            end = offset + size;
            areas.push(RegionSparseMmapArea { offset, size });
        }
        areas
    });
    ascending.prop_shuffle().prop_map(Content::SparseMmap)
}

fn region() -> impl Strategy<Value = Content> {
    let kind = |(type_, subtype)| RegionKind::new(RegionType(type_), RegionSubtype(subtype));
    let types = prop_oneof![
        any::<u32>(),
        (0..5_u32),
        proptest::sample::select(vec![0x8000_8086, 0x8000_10de, 0x8000_1014]),
    ];
    prop_oneof![
        areas(),
        (types, 0..5_u32).prop_map(kind).prop_map(Content::Type),
        Just(Content::MsixMappable),
        any::<u64>().prop_map(Content::Nvlink2Ssatgt),
        any::<u32>().prop_map(Content::Nvlink2Lnkspd),
        unknown(),
    ]
}

fn zpci_base() -> impl Strategy<Value = Content> {
    let fields = any::<(u64, u64, u16, u16, u16, u8, u8)>();
    (fields, any::<Option<(u32, Option<u32>)>>()).prop_map(|(fields, later)| {
        let (start_dma, end_dma, pchid, vfn, fmb_length, pft, gid) = fields;
        Content::ZpciBase(ZpciBase {
            start_dma,
            end_dma,
            pchid,
            vfn,
            fmb_length,
            pft,
            gid,
            fh: later.map(|(fh, _)| fh),
            ccdf_err_length: later.and_then(|(_, len)| len),
        })
    })
}

fn zpci_group() -> impl Strategy<Value = Content> {
    let fields = any::<(u64, u64, u64, u16, u16, u16, u8, Option<u16>)>();
    fields.prop_map(
        |(dasm, msi_addr, flags, mui, noi, maxstbl, version, imaxstbl)| {
            Content::ZpciGroup(ZpciGroup {
                dasm,
                msi_addr,
                flags: ZpciGroupFlags::from_bits_retain(flags),
                mui,
                noi,
                maxstbl,
                version,
                imaxstbl,
            })
        },
    )
}

fn device() -> impl Strategy<Value = Content> {
    prop_oneof![
        zpci_base(),
        zpci_group(),
        vec(any::<u8>(), 0..20).prop_map(Content::ZpciUtil),
        vec(any::<u8>(), 0..20).prop_map(Content::ZpciPfip),
        any::<u32>()
            .prop_map(AtomicCompFlags::from_bits_retain)
            .prop_map(Content::PciAtomicComp),
        unknown(),
    ]
}

fn iommu() -> impl Strategy<Value = Content> {
    let range = any::<(u64, u64)>().prop_map(|(a, b)| IovaRange {
        start: a.min(b),
        end: a.max(b),
    });
    let migration = any::<(u32, u64, u64)>().prop_map(|(flags, sizes, bytes)| Content::Migration {
        flags,
        pgsize_bitmap: sizes,
        max_dirty_bitmap_size: bytes,
    });
    prop_oneof![
        vec(range, 0..6).prop_map(Content::IovaRange),
        migration,
        any::<u32>().prop_map(Content::DmaAvail),
        unknown(),
    ]
}

/// Returns a chain of at least one capability, in which none that is known stands twice.
fn chain(one: impl Strategy<Value = Content>) -> impl Strategy<Value = Vec<Content>> {
    vec(one, 1..6).prop_map(|mut contents| {
        let mut seen = Vec::new();
        contents.retain(|content| {
            let known = !matches!(content, Content::Unknown { .. });
            let again = seen.contains(&discriminant(content));
            seen.push(discriminant(content));
            !(known && again)
        });
        contents
    })
}

/// Returns a chain of any kind.
fn any_chain() -> impl Strategy<Value = (Kind, Vec<Content>)> {
    prop_oneof![
        chain(region()).prop_map(|chain| (Kind::Region, chain)),
        chain(device()).prop_map(|chain| (Kind::Device, chain)),
        chain(iommu()).prop_map(|chain| (Kind::Iommu, chain)),
    ]
}

fn dialect() -> impl Strategy<Value = Dialect> {
    proptest::sample::select(vec![Dialect::LINUX_6_1, Dialect::LINUX_6_6])
}

/// Returns a buffer as a caller passes it: argsz, the index, and nothing that makes sense behind
/// them.
fn passed(kind: Kind, len: usize) -> Vec<u8> {
    let mut buffer = vec![0xa5; len];
    buffer[..4].copy_from_slice(&u32::try_from(len).unwrap().to_ne_bytes());
    if kind == Kind::Region {
        buffer[8..12].copy_from_slice(&Reply::INDEX.to_ne_bytes());
    }
    buffer
}

/// Answers with a chain into a buffer of `len` bytes.
fn answer(
    kind: Kind,
    chain: &[Content],
    dialect: Dialect,
    driver: IommuDriver,
    len: usize,
) -> Vec<u8> {
    let mut reply = passed(kind, len);
    let asked = kind.request();
    let answered = match kind {
        Kind::Region => {
            let caps: Vec<_> = chain.iter().map(Content::to_region).collect();
            let mut regions = [None; 6];
            regions[5] = Some(RegionReply {
                size: u64::MAX,
                caps: &caps,
                ..Default::default()
            });
            let device = DeviceReply {
                regions: &regions,
                dialect,
                ..Default::default()
            };
            device.answer(asked, &mut reply)
        }
        Kind::Device => {
            let caps: Vec<_> = chain.iter().map(Content::to_device).collect();
            let device = DeviceReply {
                caps: &caps,
                dialect,
                ..Default::default()
            };
            device.answer(asked, &mut reply)
        }
        Kind::Iommu => {
            let caps: Vec<_> = chain.iter().map(Content::to_iommu).collect();
            let iommu = IommuReply {
                driver,
                iova_pgsizes: 0x1000,
                caps: &caps,
                dialect,
            };
            iommu.answer(asked, &mut reply)
        }
        other => panic!("{other:?} has no capabilities"),
    };
    assert_eq!(answered, Ok(()));
    reply
}

/// Compares capabilities with what was written. Behind an unknown one, which does not say how
/// long it is, up to `padding` zeros may stand; behind the last one anything.
fn same(written: &[Content], read: &[Capability], padding: usize) -> Result<(), TestCaseError> {
    prop_assert_eq!(written.len(), read.len());
    for (written, cap) in written.iter().zip(read) {
        match (written, &cap.content) {
            (
                Content::Unknown { id, version, raw },
                Content::Unknown {
                    id: read_id,
                    version: read_version,
                    raw: read,
                },
            ) => {
                prop_assert_eq!((id, version), (read_id, read_version));
                let (head, tail) = read.split_at(raw.len());
                prop_assert_eq!(head, &raw[..]);
                if cap.next != 0 {
                    prop_assert!(tail.len() <= padding && tail.iter().all(|byte| *byte == 0));
                }
            }
            (written, read) => prop_assert_eq!(written, read),
        }
    }
    Ok(())
}

/// Checks that every capability lies where it can.
fn in_bounds(kind: Kind, caps: &[Capability], len: usize) -> Result<(), TestCaseError> {
    let mut at = kind.chain_start();
    for cap in caps {
        prop_assert!(cap.offset >= at);
        at = cap.offset + 8;
        prop_assert!(usize::try_from(at).unwrap() <= len);
    }
    Ok(())
}

/// Writes a chain and reads it, with the types of one space.
fn round_trip<'a, C>(caps: &[C], align: Align, start: u32, buffer: &'a mut [u8]) -> Vec<Capability>
where
    C: Typed<'a> + Into<Content>,
{
    let mut writer = Writer::new(buffer, start, align);
    for cap in caps {
        cap.emit(&mut writer).unwrap();
    }
    let len = usize::try_from(writer.len()).unwrap();
    collect(&Caps::<C>::parse(&buffer[..len], start, start).unwrap())
}

/// Bytes among which links are likely: small numbers, and now and then anything.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        6 => 0..160_u32,
        2 => (0..6_u32, 0..4_u32).prop_map(|(id, version)| id | version << 16),
        1 => any::<u32>(),
    ];
    (vec(word, 0..48), 0..4_usize).prop_map(|(words, cut)| {
        let mut bytes: Vec<_> = words.into_iter().flat_map(u32::to_ne_bytes).collect();
        bytes.truncate(bytes.len().saturating_sub(cut));
        bytes
    })
}

/// Returns what must come of a question whose last call left `reply` in the buffer.
fn due(kind: Kind, index: u32, result: Result<(), Errno>, reply: &[u8]) -> Outcome {
    match (result, decode(kind, reply)) {
        (Err(Errno::ENOSPC), decoded) if kind == Kind::HotReset => match decoded {
            Outcome::Whole(_) => Outcome::Errno(Errno::ENOSPC),
            other => other,
        },
        (Err(errno), _) => Outcome::Errno(errno),
        (Ok(()), Outcome::Whole(caps)) => {
            let got = u32::from_ne_bytes(reply[8..12].try_into().unwrap());
            if matches!(kind, Kind::Region | Kind::Irq) && got != index {
                Outcome::Malformed(Malformed::WrongIndex { asked: index, got })
            } else {
                Outcome::Whole(caps)
            }
        }
        (Ok(()), other) => other,
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    proptest::sample::select(Kind::ALL.to_vec())
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn what_a_server_answers_is_read(
        (kind, chain) in any_chain(),
        dialect in dialect(),
    ) {
        let min = usize::try_from(kind.min()).unwrap();
        let size = usize::try_from(kind.size()).unwrap();
        let needed = match decode(kind, &answer(kind, &chain, dialect, IommuDriver::Type1, min)) {
            Outcome::TooSmall { needed } => usize::try_from(needed).unwrap(),
            other => panic!("{other:?}"),
        };
        for len in min..needed {
            let reply = answer(kind, &chain, dialect, IommuDriver::Type1, len);
            let expected = Outcome::TooSmall { needed: needed as u64 };
            prop_assert_eq!(decode(kind, &reply), expected);
            // Nothing but the structure was written.
            prop_assert!(reply.iter().skip(size).all(|byte| *byte == 0xa5));
        }
        for len in needed..needed + 9 {
            let reply = answer(kind, &chain, dialect, IommuDriver::Type1, len);
            let Outcome::Whole(caps) = decode(kind, &reply) else {
                panic!("{len} of {needed} bytes: {:?}", decode(kind, &reply));
            };
            same(&chain, &caps, 7)?;
            prop_assert!(reply[needed..].iter().all(|byte| *byte == 0xa5));
            if dialect.align == Align::Eight {
                prop_assert!(caps.iter().all(|cap| cap.offset.is_multiple_of(8)));
            }
        }
    }

    #[test]
    fn what_an_iommufd_answers_is_read(chain in chain(iommu())) {
        let kind = Kind::Iommu;
        let driver = IommuDriver::Iommufd;
        let answer = |len| answer(kind, &chain, Dialect::LINUX_6_6, driver, len);
        let needed = match decode(kind, &answer(16)) {
            Outcome::TooSmall { needed } => usize::try_from(needed).unwrap(),
            other => panic!("{other:?}"),
        };
        for len in 16..needed {
            let expected = Outcome::TooSmall { needed: needed as u64 };
            prop_assert_eq!(decode(kind, &answer(len)), expected);
        }
        for len in needed..needed + 9 {
            let reply = answer(len);
            prop_assert_eq!(&reply[..4], &(needed as u32).to_ne_bytes());
            let Outcome::Whole(caps) = decode(kind, &reply) else {
                panic!("{len} of {needed} bytes: {:?}", decode(kind, &reply));
            };
            same(&chain, &caps, 7)?;
            prop_assert!(reply[needed..].iter().all(|byte| *byte == 0xa5));
        }
    }

    #[test]
    fn what_is_written_is_read(
        (kind, chain) in any_chain(),
        align in proptest::sample::select(vec![Align::Packed, Align::Eight]),
        start in 0..3_u32,
    ) {
        // Also where the structure's end is aligned to nothing.
        let start = kind.chain_start() + start;
        let mut buffer = vec![0xa5; 4096];
        let read = match kind {
            Kind::Region => {
                let caps: Vec<RegionCap<'_>> = chain.iter().map(Content::to_region).collect();
                round_trip(&caps, align, start, &mut buffer)
            }
            Kind::Device => {
                let caps: Vec<DeviceCap<'_>> = chain.iter().map(Content::to_device).collect();
                round_trip(&caps, align, start, &mut buffer)
            }
            _ => {
                let caps: Vec<IommuCap<'_>> = chain.iter().map(Content::to_iommu).collect();
                round_trip(&caps, align, start, &mut buffer)
            }
        };
        same(&chain, &read, if align == Align::Packed { 0 } else { 7 })?;
        prop_assert_eq!(read[0].offset, start);
    }
}

proptest! {
    #![proptest_config(config(4096))]

    #[test]
    fn arbitrary_bytes_do_no_harm(kind in kind(), reply in bytes()) {
        if let Outcome::Whole(caps) = decode(kind, &reply) {
            in_bounds(kind, &caps, reply.len())?;
        }
    }

    #[test]
    fn a_damaged_reply_does_no_harm(
        (kind, chain) in any_chain(),
        dialect in dialect(),
        damage in vec((any::<proptest::sample::Index>(), prop_oneof![0..128_u8, any::<u8>()]), 1..5),
        cut in 0..24_usize,
    ) {
        let mut reply = answer(kind, &chain, dialect, IommuDriver::Type1, 400);
        let needed = reply.iter().rposition(|byte| *byte != 0xa5).map_or(0, |last| last + 1);
        for (at, byte) in damage {
            reply[at.index(needed)] = byte;
        }
        reply.truncate(400 - cut);
        for kind in Kind::ALL {
            if let Outcome::Whole(caps) = decode(kind, &reply) {
                in_bounds(kind, &caps, reply.len())?;
            }
        }
    }

    #[test]
    fn arbitrary_answers_end_the_questions(
        kind in kind(),
        answers in vec(
            (
                bytes(),
                0..700_u32,
                proptest::sample::select(vec![0, 0, 0, 0, Errno::ENOSPC.0, Errno::EINVAL.0]),
            ),
            1..8,
        ),
        len in 0..200_usize,
        grows in any::<bool>(),
    ) {
        let last = RefCell::new(None);
        let world = Scripted::new(|call, _, buffer: &mut [u8]| {
            let (bytes, argsz, errno) = &answers[call as usize % answers.len()];
            buffer.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            buffer[..4].copy_from_slice(&argsz.to_ne_bytes());
            let result = if *errno == 0 { Ok(()) } else { Err(Errno(*errno)) };
            last.replace(Some((result, buffer.to_vec())));
            result
        });
        let outcome = if grows {
            ask(kind, &world, &(), Reply::INDEX, &mut Growing::new(len, 512))
        } else {
            ask(kind, &world, &(), Reply::INDEX, &mut vec![0; len][..])
        };
        let most = if grows { MAX_CALLS } else { 1 };
        prop_assert!(world.calls() <= most);
        match last.into_inner() {
            Some((result, reply)) => {
                prop_assert_eq!(outcome, due(kind, Reply::INDEX, result, &reply));
            }
            None => {
                let (len, min) = (u32::try_from(len).unwrap(), kind.size());
                prop_assert_eq!(outcome, Outcome::Malformed(Malformed::Truncated { len, min }));
            }
        }
    }
}
