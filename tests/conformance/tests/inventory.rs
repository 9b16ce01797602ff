//! An inventory says what the questions say one by one, and fails as the first of them that fails.

use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use vfio_conformance::hostile::{Case, cases};
use vfio_conformance::outcome::Kind;
use vfio_conformance::scripted::Scripted;
use vfio_core::device::{Device, Inventory, InventoryError};
use vfio_core::query::QueryError;
use vfio_core::sys::{Errno, InfoRequest, Sys, put_argsz};
use vfio_core::wire::abi::{DeviceFlags, IrqFlags, RegionCapId, RegionFlags, RegionSparseMmapArea};
use vfio_core::wire::caps::{RegionCap, RegionKind, SparseMmap};
use vfio_core::wire::info::RegionInfo;
use vfio_core::wire::server;

const REGIONS: usize = 4;
const IRQS: usize = 2;
const AREAS: usize = 8;

/// All that is kept of a device.
#[derive(Clone, Debug, PartialEq)]
struct Kept {
    flags: DeviceFlags,
    regions: Vec<Option<Region>>,
    irqs: Vec<Option<(IrqFlags, u32)>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Region {
    flags: RegionFlags,
    size: u64,
    offset: u64,
    kind: Option<RegionKind>,
    msix_mappable: bool,
    areas: Option<Vec<RegionSparseMmapArea>>,
}

/// What one call is answered with: an error, or bytes that are put over the question.
#[derive(Clone, Debug)]
enum Answer {
    Errno(Errno),
    Bytes(Vec<u8>),
}

fn world(answers: &[Answer]) -> impl Sys<Fd = ()> {
    Scripted::new(|call, _, buffer: &mut [u8]| match &answers[call as usize] {
        Answer::Errno(errno) => Err(*errno),
        Answer::Bytes(bytes) => {
            buffer
                .iter_mut()
                .zip(bytes)
                .for_each(|(to, from)| *to = *from);
            Ok(())
        }
    })
}

/// All at once.
fn inventory(answers: &[Answer], len: usize) -> Result<Kept, InventoryError> {
    let device = Device::new(world(answers), ());
    let mut inventory = Inventory::<REGIONS, IRQS, AREAS>::new();
    device.inventory_into(&mut vec![0x5a; len][..], &mut inventory)?;
    let region = |region: &vfio_core::device::InventoryRegion| Region {
        flags: region.flags,
        size: region.size,
        offset: region.offset,
        kind: region.kind(),
        msix_mappable: region.is_msix_mappable(),
        areas: inventory.areas(region).map(<[_]>::to_vec),
    };
    let regions = inventory.regions().iter();
    let irqs = inventory.irqs().iter();
    Ok(Kept {
        flags: inventory.flags(),
        regions: regions.map(|slot| slot.as_ref().map(region)).collect(),
        irqs: irqs
            .map(|slot| slot.map(|irq| (irq.flags, irq.count)))
            .collect(),
    })
}

/// One by one.
fn one_by_one(answers: &[Answer], len: usize) -> Result<Kept, InventoryError> {
    let device = Device::new(world(answers), ());
    let mut buffer = vec![0x5a; len];
    let info = device
        .info(&mut buffer[..])
        .map_err(InventoryError::Device)?;
    let (flags, num_regions, num_irqs) = (info.flags, info.num_regions, info.num_irqs);
    if num_regions as usize > REGIONS {
        return Err(InventoryError::TooManyRegions { count: num_regions });
    }
    if num_irqs as usize > IRQS {
        return Err(InventoryError::TooManyIrqs { count: num_irqs });
    }
    let mut used = 0;
    let regions = (0..num_regions).map(|index| match device.region(index, &mut buffer[..]) {
        Ok(info) => {
            used += listed(&info);
            if used > AREAS {
                return Err(InventoryError::TooManyAreas { index });
            }
            Ok(Some(region(&info)))
        }
        Err(QueryError::Errno(Errno::EINVAL)) => Ok(None),
        Err(error) => Err(InventoryError::Region { index, error }),
    });
    let regions = regions.collect::<Result<_, _>>()?;
    let irqs = (0..num_irqs).map(|index| match device.irq(index) {
        Ok(info) => Ok(Some((info.flags, info.count))),
        Err(QueryError::Errno(Errno::EINVAL)) => Ok(None),
        Err(error) => Err(InventoryError::Irq { index, error }),
    });
    let irqs = irqs.collect::<Result<_, _>>()?;
    Ok(Kept {
        flags,
        regions,
        irqs,
    })
}

/// How many areas of a region need room: those of a list that stands behind one that can't be read
/// need none.
fn listed(info: &RegionInfo<'_>) -> usize {
    info.caps
        .iter()
        .find_map(|cap| match cap {
            RegionCap::SparseMmap(sparse) => Some(sparse.areas.len()),
            RegionCap::Unknown(cap) if cap.id == RegionCapId::SPARSE_MMAP.0 => Some(0),
            _ => None,
        })
        .unwrap_or(0)
}

fn region(info: &RegionInfo<'_>) -> Region {
    let mut areas = None;
    for cap in info.caps {
        match cap {
            RegionCap::SparseMmap(sparse) if areas.is_none() => {
                areas = Some(sparse.areas.iter().collect());
            }
            RegionCap::Unknown(cap) if cap.id == RegionCapId::SPARSE_MMAP.0 => {
                areas = Some(Vec::new());
            }
            _ => (),
        }
    }
    Region {
        flags: info.flags,
        size: info.size,
        offset: info.offset,
        kind: info.kind(),
        msix_mappable: info.is_msix_mappable(),
        areas,
    }
}

/// The replies of a kind, legal and hostile.
fn replies(kind: Kind) -> Vec<Vec<u8>> {
    static CASES: LazyLock<Vec<Case>> = LazyLock::new(cases);
    let of_kind = CASES.iter().filter(|case| case.kind == kind);
    of_kind.map(|case| case.bytes.clone()).collect()
}

/// A reply of a kind with `words` in it, now and then damaged, or an error.
fn answer(kind: Kind, words: Vec<(usize, u32)>) -> impl Strategy<Value = Answer> {
    let damage = (any::<Index>(), prop_oneof![0..128_u8, any::<u8>()]);
    let reply = proptest::sample::select(replies(kind));
    let reply = (reply, vec(damage, 0..2)).prop_map(move |(mut bytes, damage)| {
        for &(at, word) in &words {
            if let Some(place) = bytes.get_mut(at..at + 4) {
                place.copy_from_slice(&word.to_ne_bytes());
            }
        }
        for (at, byte) in damage {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        Answer::Bytes(bytes)
    });
    let errno = proptest::sample::select(vec![Errno::EINVAL, Errno::EINVAL, Errno::EIO]);
    prop_oneof![15 => reply, 1 => errno.prop_map(Answer::Errno)]
}

/// The answers of a device, hostile or legal, in the order of the questions.
fn answers() -> impl Strategy<Value = Vec<Answer>> {
    (0..6_u32, 0..4_u32).prop_flat_map(|(regions, irqs)| {
        let counts = vec![(8, regions), (12, irqs)];
        let mut all = vec![answer(Kind::Device, counts).boxed()];
        all.extend((0..regions).map(|index| answer(Kind::Region, vec![(8, index)]).boxed()));
        all.extend((0..irqs).map(|index| answer(Kind::Irq, vec![(8, index)]).boxed()));
        // Damaged counts may ask for more.
        all.extend((0..8).map(|_| Just(Answer::Errno(Errno::EIO)).boxed()));
        all
    })
}

/// A device of one region, which is answered by `reply`.
fn of_one_region(reply: &[u8]) -> [Answer; 2] {
    let mut device = [0; 24];
    for (at, word) in [(0, 24_u32), (8, 1)] {
        device[at..at + 4].copy_from_slice(&word.to_ne_bytes());
    }
    let mut reply = reply.to_vec();
    if let Some(index) = reply.get_mut(8..12) {
        index.fill(0);
    }
    [Answer::Bytes(device.to_vec()), Answer::Bytes(reply)]
}

#[test]
fn every_case_is_kept_or_refused_as_the_question_does() {
    let mut kept = 0;
    for reply in replies(Kind::Region) {
        let answers = of_one_region(&reply);
        let len = reply.len().max(24);
        let all = inventory(&answers, len);
        assert_eq!(all, one_by_one(&answers, len), "{reply:x?}");
        kept += usize::from(all.is_ok());
    }
    assert!(kept > 20, "of the legal replies {kept} are kept");
}

/// What a device with a region for each of `lists` answers, which has so many areas.
fn of_lists(lists: &[u64]) -> Vec<Answer> {
    let areas = |count| {
        (0..count).map(|n| RegionSparseMmapArea {
            offset: 16 * n,
            size: 8,
        })
    };
    let areas: Vec<Vec<_>> = lists.iter().map(|count| areas(*count).collect()).collect();
    let caps: Vec<_> = areas
        .iter()
        .map(|list| [RegionCap::SparseMmap(SparseMmap::new(list))])
        .collect();
    let regions: Vec<_> = caps
        .iter()
        .map(|caps| {
            Some(server::RegionReply {
                flags: RegionFlags::MMAP,
                size: 0x1000,
                offset: 0,
                caps,
            })
        })
        .collect();
    let device = server::DeviceReply {
        regions: &regions,
        ..Default::default()
    };
    let answer = |request, index: u32| {
        let mut reply = [0; 256];
        put_argsz(&mut reply).unwrap();
        reply[8..12].copy_from_slice(&index.to_ne_bytes());
        device.answer(request, &mut reply).unwrap();
        Answer::Bytes(reply.to_vec())
    };
    let mut answers = vec![answer(InfoRequest::Device, 0)];
    answers.extend(
        (0..)
            .zip(lists)
            .map(|(index, _)| answer(InfoRequest::Region, index)),
    );
    answers
}

#[test]
fn the_areas_of_regions_stand_beside_each_other() {
    for lists in [&[3, 5][..], &[8], &[0, 1, 7], &[2, 2, 0, 4]] {
        let answers = of_lists(lists);
        let all = inventory(&answers, 256).unwrap();
        let counts = all
            .regions
            .iter()
            .flatten()
            .map(|region| region.areas.as_ref().unwrap().len() as u64);
        assert!(counts.eq(lists.iter().copied()), "{all:?}");
        assert_eq!(one_by_one(&answers, 256), Ok(all));
    }
    for (lists, index) in [(&[9][..], 0), (&[8, 1], 1), (&[3, 3, 3], 2)] {
        let all = inventory(&of_lists(lists), 256);
        assert_eq!(all, Err(InventoryError::TooManyAreas { index }));
    }
}

#[test]
fn an_error_leaves_nothing_of_what_was_kept() {
    let region = replies(Kind::Region)
        .into_iter()
        .map(|reply| of_one_region(&reply))
        .find(|answers| inventory(answers, 256).is_ok())
        .unwrap();
    let mut answers = region.to_vec();
    answers.push(region[0].clone());
    answers.push(Answer::Errno(Errno::EIO));
    let device = Device::new(world(&answers), ());
    let mut kept = Inventory::<REGIONS, IRQS, AREAS>::new();
    device.inventory_into(&mut [0; 256], &mut kept).unwrap();
    assert_eq!(kept.regions().len(), 1);
    let error = device.inventory_into(&mut [0; 256], &mut kept).unwrap_err();
    let error_of_region = InventoryError::Region {
        index: 0,
        error: QueryError::Errno(Errno::EIO),
    };
    assert_eq!(error, error_of_region);
    assert_eq!(
        (kept.regions().len(), kept.flags()),
        (0, DeviceFlags::empty())
    );
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4096,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn devices_are_kept_or_refused_as_the_questions_do(
        answers in answers(),
        len in prop_oneof![24..64_usize, 64..512_usize],
    ) {
        prop_assert_eq!(inventory(&answers, len), one_by_one(&answers, len));
    }
}
