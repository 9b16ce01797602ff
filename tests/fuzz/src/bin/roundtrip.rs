//! Any device and any IOMMU: what the answering side says of it is what the reader finds.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::arbitrary::{self, Unstructured};
use libfuzzer_sys::fuzz_target;
use vfio_conformance::scripted::Scripted;
use vfio_core::query;
use vfio_core::sys::{Errno, InfoRequest, put_argsz};
use vfio_core::wire::abi::{
    AtomicCompFlags, DeviceFlags, HotResetFlags, IommuInfoFlags, IovaRange, IrqFlags,
    PciDependentDevice, RegionFlags, RegionSparseMmapArea, RegionSubtype, RegionType,
    ZpciGroupFlags,
};
use vfio_core::wire::caps::{
    Array, Caps, DeviceCap, IommuCap, RegionCap, RegionKind, SparseMmap, Typed, Unknown, ZpciBase,
    ZpciGroup,
};
use vfio_core::wire::info::{
    DeviceInfo, HotResetInfo, InfoError, IommuInfo, IrqInfo, Malformed, RegionInfo,
};
use vfio_core::wire::server::{
    DeviceReply, Dialect, HotReset, IommuDriver, IommuReply, IrqReply, RegionReply,
};
use vfio_fuzz::areas;

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    // An input that is too short describes nothing.
    let _ = match input.int_in_range(0..=4) {
        Ok(0) => device(&mut input),
        Ok(1) => region(&mut input),
        Ok(2) => iommu(&mut input),
        Ok(3) => irq(&mut input),
        _ => hot_reset(&mut input),
    };
});

/// What is in a buffer before the call.
const BEFORE: u8 = 0xa5;

/// The index that is asked about.
const INDEX: u32 = 1;

fn device(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let caps = device_caps(input)?;
    let dialect = match input.int_in_range(0..=2)? {
        0 => Dialect::LINUX_6_6,
        1 => Dialect::LINUX_6_1,
        // Has no `cap_offset`.
        _ if caps.is_empty() => Dialect::MDEV,
        _ => Dialect::LINUX_6_6,
    };
    let device = DeviceReply {
        flags: DeviceFlags::from_bits_retain(input.arbitrary()?) - DeviceFlags::CAPS,
        caps: &caps,
        regions: &vec![None; input.int_in_range(0..=20)?],
        irqs: &vec![None; input.int_in_range(0..=20)?],
        dialect,
        ..DeviceReply::default()
    };
    let needs = |reply: &[u8]| needed(&DeviceInfo::decode(reply));
    let ask = |reply: &mut [u8]| device.answer(InfoRequest::Device, reply);
    let check = |info: &DeviceInfo<'_>, is_exact| {
        let announced = DeviceFlags::CAPS & info.flags;
        assert_eq!(announced.is_empty(), caps.is_empty());
        assert_eq!(info.flags - announced, device.flags);
        assert_eq!(info.num_regions as usize, device.regions.len());
        assert_eq!(info.num_irqs as usize, device.irqs.len());
        check_caps(&info.caps, &caps, is_exact, |cap| match cap {
            DeviceCap::Unknown(unknown) => Some(*unknown),
            _ => None,
        });
    };
    for reply in answers(input, InfoRequest::Device, [16, 24], ask, needs)? {
        check(&DeviceInfo::decode(&reply.bytes).unwrap(), reply.is_exact);
    }
    let server = Scripted::new(|_, asked, reply: &mut [u8]| device.answer(asked, reply));
    let mut buffer = vec![BEFORE; input.int_in_range(24..=64)?];
    check(&query::device(&server, &(), &mut buffer).unwrap(), false);
    assert!(server.calls() <= 2);
    Ok(())
}

fn region(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let areas = sparse_areas(input)?;
    let caps = region_caps(input, &areas)?;
    let region = RegionReply {
        flags: RegionFlags::from_bits_retain(input.arbitrary()?) - RegionFlags::CAPS,
        size: size(input)?,
        offset: input.arbitrary()?,
        caps: &caps,
    };
    let device = DeviceReply {
        regions: &[None, Some(region)],
        dialect: any_dialect(input)?,
        ..DeviceReply::default()
    };
    let is_sparse = caps
        .iter()
        .any(|cap| matches!(cap, RegionCap::SparseMmap(_)));
    let fits = !is_sparse || areas::fit(&areas, region.size);
    let needs = |reply: &[u8]| needed(&RegionInfo::decode(reply));
    let ask = |reply: &mut [u8]| device.answer(InfoRequest::Region, reply);
    let check = |info: &RegionInfo<'_>, is_exact| {
        let announced = RegionFlags::CAPS & info.flags;
        assert_eq!(announced.is_empty(), caps.is_empty());
        assert_eq!(info.flags - announced, region.flags);
        assert_eq!(info.index, INDEX);
        assert_eq!((info.size, info.offset), (region.size, region.offset));
        check_caps(&info.caps, &caps, is_exact, |cap| match cap {
            RegionCap::Unknown(unknown) => Some(*unknown),
            _ => None,
        });
        areas::check_coverage(info);
    };
    for reply in answers(input, InfoRequest::Region, [32, 32], ask, needs)? {
        match RegionInfo::decode(&reply.bytes) {
            Ok(info) if fits => check(&info, reply.is_exact),
            Err(InfoError::Malformed(Malformed::Area { .. })) if !fits => (),
            other => panic!("{other:?} from {region:?}"),
        }
    }
    if fits {
        let server = Scripted::new(|_, asked, reply: &mut [u8]| device.answer(asked, reply));
        let mut buffer = vec![BEFORE; input.int_in_range(32..=64)?];
        let info = query::region(&server, &(), INDEX, &mut buffer).unwrap();
        check(&info, false);
        assert!(server.calls() <= 2);
    }
    Ok(())
}

fn iommu(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let ranges = iova_ranges(input)?;
    let caps = iommu_caps(input, &ranges)?;
    let driver = match input.arbitrary()? {
        true => IommuDriver::Type1,
        false => IommuDriver::Iommufd,
    };
    let iommu = IommuReply {
        driver,
        iova_pgsizes: input.arbitrary()?,
        caps: &caps,
        dialect: any_dialect(input)?,
    };
    let needs = |reply: &[u8]| needed(&IommuInfo::decode(reply));
    let ask = |reply: &mut [u8]| iommu.answer(InfoRequest::Iommu, reply);
    let check = |info: &IommuInfo<'_>, is_exact| {
        let announced = IommuInfoFlags::CAPS & info.flags;
        assert_eq!(announced.is_empty(), caps.is_empty());
        assert_eq!(info.flags - announced, IommuInfoFlags::PGSIZES);
        assert_eq!(info.iova_pgsizes, iommu.iova_pgsizes);
        check_caps(&info.caps, &caps, is_exact, |cap| match cap {
            IommuCap::Unknown(unknown) => Some(*unknown),
            _ => None,
        });
    };
    for reply in answers(input, InfoRequest::Iommu, [16, 24], ask, needs)? {
        check(&IommuInfo::decode(&reply.bytes).unwrap(), reply.is_exact);
    }
    let server = Scripted::new(|_, asked, reply: &mut [u8]| iommu.answer(asked, reply));
    let mut buffer = vec![BEFORE; input.int_in_range(24..=64)?];
    check(&query::iommu(&server, &(), &mut buffer).unwrap(), false);
    assert!(server.calls() <= 2);
    Ok(())
}

fn irq(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let irq = IrqReply {
        flags: IrqFlags::from_bits_retain(input.arbitrary()?),
        count: input.arbitrary()?,
    };
    let device = DeviceReply {
        irqs: &[None, Some(irq)],
        dialect: any_dialect(input)?,
        ..DeviceReply::default()
    };
    let needs = |reply: &[u8]| needed(&IrqInfo::decode(reply));
    let ask = |reply: &mut [u8]| device.answer(InfoRequest::Irq, reply);
    let expected = IrqInfo {
        flags: irq.flags,
        index: INDEX,
        count: irq.count,
    };
    for reply in answers(input, InfoRequest::Irq, [16, 16], ask, needs)? {
        assert_eq!(IrqInfo::decode(&reply.bytes), Ok(expected));
    }
    let server = Scripted::new(|_, asked, reply: &mut [u8]| device.answer(asked, reply));
    assert_eq!(query::irq(&server, &(), INDEX), Ok(expected));
    assert_eq!(query::irq(&server, &(), 0), Err(Errno::EINVAL.into()));
    Ok(())
}

fn hot_reset(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let mut devices = Vec::new();
    for _ in 0..input.int_in_range(0..=8)? {
        devices.push(PciDependentDevice {
            group_id: input.arbitrary()?,
            segment: input.arbitrary()?,
            bus: input.arbitrary()?,
            devfn: input.arbitrary()?,
        });
    }
    let flags = HotResetFlags::from_bits_retain(input.arbitrary()?);
    let device = DeviceReply {
        hot_reset: Some(HotReset {
            flags,
            devices: &devices,
        }),
        ..DeviceReply::default()
    };
    let needs = |reply: &[u8]| needed(&HotResetInfo::decode(reply));
    let ask = |reply: &mut [u8]| device.answer(InfoRequest::PciHotReset, reply);
    let expected = HotResetInfo {
        flags,
        devices: Array::new(&devices),
    };
    for reply in answers(input, InfoRequest::PciHotReset, [12, 12], ask, needs)? {
        assert_eq!(HotResetInfo::decode(&reply.bytes), Ok(expected));
    }
    let server = Scripted::new(|_, asked, reply: &mut [u8]| device.answer(asked, reply));
    let mut buffer = vec![BEFORE; input.int_in_range(12..=64)?];
    let info = query::hot_reset(&server, &(), &mut buffer);
    assert_eq!(info, Ok(expected));
    assert!(server.calls() <= 2);
    Ok(())
}

/// A whole reply.
struct Reply {
    bytes: Vec<u8>,
    /// Whether the buffer was as long as it had to be, and no longer.
    is_exact: bool,
}

/// Asks with buffers of several lengths, checks the replies that are not whole, and returns the
/// others. `min` is the shortest buffer that is answered, `head` the length of the structure.
fn answers(
    input: &mut Unstructured<'_>,
    request: InfoRequest,
    [min, head]: [usize; 2],
    answer: impl Fn(&mut [u8]) -> Result<(), Errno>,
    needed: impl Fn(&[u8]) -> Option<u64>,
) -> arbitrary::Result<[Reply; 2]> {
    let ask = |len| {
        let asked = question(request, head, len);
        let mut reply = asked.clone();
        let end = answer(&mut reply);
        (asked, reply, end)
    };
    let (_, shortest, _) = ask(min);
    let whole = needed(&shortest).map_or(min, |len| usize::try_from(len).unwrap());
    for len in [whole - 1, input.int_in_range(0..=whole - 1)?] {
        let (asked, reply, end) = ask(len);
        if len < min {
            assert_eq!(end, Err(Errno::EINVAL));
            assert_eq!(reply, asked, "a refusal that writes");
        } else {
            assert!(matches!(end, Ok(()) | Err(Errno::ENOSPC)));
            assert_eq!(needed(&reply), Some(u64::try_from(whole).unwrap()));
        }
    }
    let longer = whole + input.int_in_range(0..=40_usize)?;
    Ok([whole, longer].map(|len| {
        let (_, bytes, end) = ask(len);
        assert_eq!(end, Ok(()));
        assert_eq!(needed(&bytes), None);
        let behind = bytes.get(whole.max(head)..).unwrap_or(&[]);
        assert!(behind.iter().all(|byte| *byte == BEFORE));
        let is_exact = len == whole;
        Reply { bytes, is_exact }
    }))
}

/// Returns a buffer with zeros in the structure, argsz and the index.
fn question(request: InfoRequest, head: usize, len: usize) -> Vec<u8> {
    let mut asked = vec![BEFORE; len];
    asked[..head.min(len)].fill(0);
    if matches!(request, InfoRequest::Region | InfoRequest::Irq)
        && let Some(index) = asked.get_mut(8..12)
    {
        index.copy_from_slice(&INDEX.to_ne_bytes());
    }
    // Too short for argsz: then it is too short for an answer.
    let _ = put_argsz(&mut asked);
    asked
}

fn needed<T, H>(decoded: &Result<T, InfoError<H>>) -> Option<u64> {
    match decoded {
        Err(InfoError::TooSmall { needed, .. }) => Some(*needed),
        _ => None,
    }
}

/// Checks that a reply has the capabilities that were described. What follows an unknown one up
/// to the next, or to the end of the reply, can't be told from it.
fn check_caps<'a, C: Typed<'a> + Debug + PartialEq>(
    found: &Caps<'a, C>,
    expected: &[C],
    is_exact: bool,
    unknown: impl Fn(&C) -> Option<Unknown<'a>>,
) {
    assert_eq!(found.iter().count(), expected.len(), "{found:?}");
    for (n, (cap, described)) in found.iter().zip(expected).enumerate() {
        let (Some(a), Some(b)) = (unknown(&cap), unknown(described)) else {
            assert_eq!(&cap, described);
            continue;
        };
        assert_eq!((a.id, a.version), (b.id, b.version));
        let rest = a.raw.strip_prefix(b.raw).expect("other bytes");
        if is_exact || n + 1 < expected.len() {
            assert!(rest.len() < 8 && rest.iter().all(|byte| *byte == 0));
        }
    }
}

fn any_dialect(input: &mut Unstructured<'_>) -> arbitrary::Result<Dialect> {
    let all = [Dialect::LINUX_6_6, Dialect::LINUX_6_1, Dialect::MDEV];
    input.choose(&all).copied()
}

/// Returns which of `kinds` capabilities to describe, in any order. Only the last kind repeats.
fn kinds(input: &mut Unstructured<'_>, kinds: u8) -> arbitrary::Result<Vec<u8>> {
    let mut chosen = Vec::new();
    for _ in 0..input.int_in_range(0..=8)? {
        let kind = input.int_in_range(1..=kinds)?;
        if kind == kinds || !chosen.contains(&kind) {
            chosen.push(kind);
        }
    }
    Ok(chosen)
}

fn unknown<'a>(input: &mut Unstructured<'a>) -> arbitrary::Result<Unknown<'a>> {
    let len = input.int_in_range(0..=40)?;
    let is_known_id = input.ratio(3_u8, 4_u8)?;
    Ok(Unknown {
        id: if is_known_id {
            input.int_in_range(0..=5)?
        } else {
            input.arbitrary()?
        },
        // No capability has come so far.
        version: input.int_in_range(4..=u16::MAX)?,
        offset: 0,
        raw: input.bytes(len)?,
    })
}

fn device_caps<'a>(input: &mut Unstructured<'a>) -> arbitrary::Result<Vec<DeviceCap<'a>>> {
    let mut caps = Vec::new();
    for kind in kinds(input, 6)? {
        caps.push(match kind {
            1 => {
                let fh: Option<u32> = input.arbitrary()?;
                let ccdf_err_length: Option<u32> = input.arbitrary()?;
                DeviceCap::ZpciBase(ZpciBase {
                    start_dma: input.arbitrary()?,
                    end_dma: input.arbitrary()?,
                    pchid: input.arbitrary()?,
                    vfn: input.arbitrary()?,
                    fmb_length: input.arbitrary()?,
                    pft: input.arbitrary()?,
                    gid: input.arbitrary()?,
                    fh,
                    ccdf_err_length: fh.and(ccdf_err_length),
                })
            }
            2 => DeviceCap::ZpciGroup(ZpciGroup {
                dasm: input.arbitrary()?,
                msi_addr: input.arbitrary()?,
                flags: ZpciGroupFlags::from_bits_retain(input.arbitrary()?),
                mui: input.arbitrary()?,
                noi: input.arbitrary()?,
                maxstbl: input.arbitrary()?,
                version: input.arbitrary()?,
                imaxstbl: input.arbitrary()?,
            }),
            3 => DeviceCap::ZpciUtil {
                util_str: input.arbitrary()?,
            },
            4 => DeviceCap::ZpciPfip {
                pfip: input.arbitrary()?,
            },
            5 => DeviceCap::PciAtomicComp {
                flags: AtomicCompFlags::from_bits_retain(input.arbitrary()?),
            },
            _ => DeviceCap::Unknown(unknown(input)?),
        });
    }
    Ok(caps)
}

fn region_caps<'a, 'i: 'a>(
    input: &mut Unstructured<'i>,
    areas: &'a [RegionSparseMmapArea],
) -> arbitrary::Result<Vec<RegionCap<'a>>> {
    let mut caps = Vec::new();
    for kind in kinds(input, 6)? {
        caps.push(match kind {
            1 => RegionCap::SparseMmap(SparseMmap::new(areas)),
            2 => RegionCap::Type(RegionKind::new(
                RegionType(input.arbitrary()?),
                RegionSubtype(input.arbitrary()?),
            )),
            3 => RegionCap::MsixMappable,
            4 => RegionCap::Nvlink2Ssatgt {
                tgt: input.arbitrary()?,
            },
            5 => RegionCap::Nvlink2Lnkspd {
                link_speed: input.arbitrary()?,
            },
            _ => RegionCap::Unknown(unknown(input)?),
        });
    }
    Ok(caps)
}

fn iommu_caps<'a, 'i: 'a>(
    input: &mut Unstructured<'i>,
    ranges: &'a [IovaRange],
) -> arbitrary::Result<Vec<IommuCap<'a>>> {
    let mut caps = Vec::new();
    for kind in kinds(input, 4)? {
        caps.push(match kind {
            1 => IommuCap::IovaRange(Array::new(ranges)),
            2 => IommuCap::Migration {
                flags: input.arbitrary()?,
                pgsize_bitmap: input.arbitrary()?,
                max_dirty_bitmap_size: input.arbitrary()?,
            },
            3 => IommuCap::DmaAvail {
                avail: input.arbitrary()?,
            },
            _ => IommuCap::Unknown(unknown(input)?),
        });
    }
    Ok(caps)
}

/// Returns a size in bytes: often small and often round, as a region's is.
fn size(input: &mut Unstructured<'_>) -> arbitrary::Result<u64> {
    let value: u64 = input.arbitrary()?;
    let shift = input.choose(&[0, 40, 48, 56])?;
    let low = input.choose(&[0, 8, 12])?;
    Ok(value >> shift << low)
}

fn sparse_areas(input: &mut Unstructured<'_>) -> arbitrary::Result<Vec<RegionSparseMmapArea>> {
    let mut areas = Vec::new();
    for _ in 0..input.int_in_range(0..=6)? {
        areas.push(RegionSparseMmapArea {
            offset: size(input)?,
            size: size(input)?,
        });
    }
    Ok(areas)
}

fn iova_ranges(input: &mut Unstructured<'_>) -> arbitrary::Result<Vec<IovaRange>> {
    let mut ranges = Vec::new();
    for _ in 0..input.int_in_range(0..=6)? {
        let (a, b): (u64, u64) = (input.arbitrary()?, input.arbitrary()?);
        ranges.push(IovaRange {
            start: a.min(b),
            end: a.max(b),
        });
    }
    Ok(ranges)
}
