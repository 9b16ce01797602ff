//! Every captured reply means what two decoders that are not of this project say it means.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use vfio_conformance::capability::{Capability, Content, collect};
use vfio_conformance::fixture::{self, Fixture};
use vfio_conformance::outcome::Kind;
use vfio_core::sys::Errno;
use vfio_core::wire::abi;
use vfio_core::wire::caps::{Caps, RegionKind, Typed};
use vfio_core::wire::info::{DeviceInfo, HotResetInfo, InfoError, IommuInfo, IrqInfo, RegionInfo};
use zerocopy::{FromBytes, IntoBytes};

/// Returns the fixtures of an ioctl that have a meaning, and how many there must be.
fn of(kind: Kind, count: usize) -> Vec<(Fixture, Value)> {
    let list: Vec<_> = fixture::index()
        .into_iter()
        .filter(|fixture| fixture.kind() == kind)
        .filter_map(|fixture| Some((fixture.clone(), fixture.expected?)))
        .collect();
    assert_eq!(list.len(), count, "{kind:?}");
    list
}

/// Returns the structure at the start of a reply, zeros standing for what is missing.
fn head<H: FromBytes + IntoBytes>(reply: &[u8]) -> H {
    let mut head = H::new_zeroed();
    head.as_mut_bytes()
        .iter_mut()
        .zip(reply)
        .for_each(|(to, from)| *to = *from);
    head
}

/// Returns `cap_offset` as the index writes it: nothing where argsz ended before it.
fn cap_offset(fixture: &Fixture, value: u32, end: usize) -> Value {
    if fixture.file_len < end {
        Value::Null
    } else {
        value.into()
    }
}

/// Returns a capability as the index writes it.
fn described(cap: &Capability) -> Value {
    let mut object = match &cap.content {
        Content::SparseMmap(areas) => json!({
            "kind": "SPARSE_MMAP", "nr_areas": areas.len(), "reserved": 0,
            "areas": areas.iter()
                .map(|area| json!({"offset": area.offset, "size": area.size}))
                .collect::<Vec<_>>(),
        }),
        Content::Type(kind) => json!({
            "kind": "TYPE", "type": kind.type_().0, "subtype": kind.subtype().0,
        }),
        Content::MsixMappable => json!({"kind": "MSIX_MAPPABLE"}),
        Content::PciAtomicComp(flags) => json!({
            "kind": "PCI_ATOMIC_COMP", "flags": flags.bits(), "reserved": 0,
        }),
        Content::IovaRange(ranges) => json!({
            "kind": "IOVA_RANGE", "nr_iovas": ranges.len(), "reserved": 0,
            "iova_ranges": ranges.iter()
                .map(|range| json!({"start": range.start, "end": range.end}))
                .collect::<Vec<_>>(),
        }),
        Content::Migration {
            flags,
            pgsize_bitmap,
            max_dirty_bitmap_size,
        } => json!({
            "kind": "MIGRATION", "flags": flags, "pgsize_bitmap": pgsize_bitmap,
            "max_dirty_bitmap_size": max_dirty_bitmap_size,
        }),
        Content::DmaAvail(avail) => json!({"kind": "DMA_AVAIL", "avail": avail}),
        other => panic!("no fixture has {other:?}"),
    };
    for (key, value) in [
        ("id", Value::from(cap.id)),
        ("version", cap.version.into()),
        ("offset", cap.offset.into()),
        ("next", cap.next.into()),
    ] {
        object[key] = value;
    }
    object
}

/// Returns the state of a chain and its capabilities, as the index writes them. `head` is what the
/// reply starts with, and must be what an error carries.
fn chain<'a, C, H>(
    fixture: &Fixture,
    head: &H,
    argsz: u32,
    caps: Result<Caps<'a, C>, InfoError<H>>,
) -> (&'static str, Value)
where
    C: Typed<'a> + Into<Content>,
    H: PartialEq + std::fmt::Debug,
{
    match caps {
        Ok(caps) => {
            let list: Vec<_> = collect(&caps).iter().map(described).collect();
            let state = if list.is_empty() { "absent" } else { "present" };
            assert_eq!(caps.is_empty(), list.is_empty(), "{}", fixture.file);
            (state, list.into())
        }
        Err(InfoError::TooSmall {
            head: carried,
            needed,
        }) => {
            assert_eq!(&carried, head, "{}", fixture.file);
            assert_eq!(needed, u64::from(argsz), "{}", fixture.file);
            ("need_more", json!([]))
        }
        Err(error) => panic!("{}: {error}", fixture.file),
    }
}

#[test]
fn the_index_names_every_file_and_every_file_is_there() {
    fn walk(directory: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|end| end == "bin") {
                let below = path.strip_prefix(fixture::directory()).unwrap();
                found.push(below.to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(&fixture::directory(), &mut found);
    let mut named: Vec<_> = fixture::index()
        .into_iter()
        .map(|fixture| fixture.file)
        .collect();
    found.sort();
    named.sort();
    assert_eq!(found, named);
    assert_eq!(named.len(), 381);
}

#[test]
fn none_is_left_out() {
    let mut meant = BTreeMap::new();
    let mut failed = BTreeMap::new();
    for fixture in fixture::index() {
        let source = fixture.file.split('/').next().unwrap().to_owned();
        match (&fixture.expected, fixture.result()) {
            (Some(_), _) => *meant.entry(source).or_insert(0) += 1,
            (None, Err(errno)) => *failed.entry(errno.name().unwrap()).or_insert(0) += 1,
            (None, Ok(())) => panic!("{} has no meaning", fixture.file),
        }
    }
    let meant: Vec<_> = meant
        .iter()
        .map(|(source, count)| (source.as_str(), *count))
        .collect();
    assert_eq!(
        meant,
        [
            ("libvfio-user", 36),
            ("linux-6.1", 142),
            ("linux-6.12", 54),
            ("linux-7.3.4", 113)
        ]
    );
    let failed: Vec<_> = failed.into_iter().collect();
    assert_eq!(failed, [("EINVAL", 31), ("ENODEV", 2), ("ENOTTY", 3)]);
}

#[test]
fn a_kernel_wrote_only_where_the_index_says() {
    for fixture in fixture::index()
        .iter()
        .filter(|fixture| fixture.source.starts_with("linux"))
    {
        let before = fixture.buffer_before();
        for (at, (before, after)) in before.iter().zip(fixture.bytes()).enumerate() {
            let written = fixture
                .written
                .iter()
                .any(|&(start, end)| (start..end).contains(&at));
            assert!(written || *before == after, "{}: byte {at}", fixture.file);
        }
    }
}

#[test]
fn device_info() {
    for (fixture, expected) in of(Kind::Device, 33) {
        let reply = fixture.bytes();
        let head: abi::DeviceInfo = head(&reply);
        let decoded = DeviceInfo::decode(&reply);
        if let Ok(info) = &decoded {
            assert_eq!(
                (info.flags, info.num_regions, info.num_irqs),
                (head.flags, head.num_regions, head.num_irqs)
            );
        }
        let caps = decoded.map(|info| info.caps);
        let (state, caps) = chain(&fixture, &head, head.argsz, caps);
        let seen = json!({
            "argsz": head.argsz, "flags": head.flags.bits(), "num_regions": head.num_regions,
            "num_irqs": head.num_irqs, "cap_offset": cap_offset(&fixture, head.cap_offset, 20),
            "caps_state": state, "caps": caps,
        });
        assert_eq!(seen, expected, "{}", fixture.file);
    }
}

#[test]
fn region_info() {
    for (fixture, expected) in of(Kind::Region, 154) {
        let reply = fixture.bytes();
        let head: abi::RegionInfo = head(&reply);
        let decoded = RegionInfo::decode(&reply);
        if let Ok(info) = &decoded {
            assert_eq!(
                (info.flags, info.index, info.size, info.offset),
                (head.flags, head.index, head.size, head.offset)
            );
        }
        let caps = decoded.map(|info| info.caps);
        let (state, caps) = chain(&fixture, &head, head.argsz, caps);
        let seen = json!({
            "argsz": head.argsz, "flags": head.flags.bits(), "index": head.index,
            "cap_offset": cap_offset(&fixture, head.cap_offset, 16), "size": head.size,
            "offset": head.offset, "caps_state": state, "caps": caps,
        });
        assert_eq!(seen, expected, "{}", fixture.file);
    }
}

#[test]
fn iommu_info() {
    for (fixture, expected) in of(Kind::Iommu, 36) {
        let reply = fixture.bytes();
        let head: abi::IommuType1Info = head(&reply);
        let decoded = IommuInfo::decode(&reply);
        if let Ok(info) = &decoded {
            assert_eq!(
                (info.flags, info.iova_pgsizes),
                (head.flags, head.iova_pgsizes)
            );
        }
        let caps = decoded.map(|info| info.caps);
        let (state, caps) = chain(&fixture, &head, head.argsz, caps);
        let seen = json!({
            "argsz": head.argsz, "flags": head.flags.bits(), "iova_pgsizes": head.iova_pgsizes,
            "cap_offset": cap_offset(&fixture, head.cap_offset, 20),
            "caps_state": state, "caps": caps,
        });
        assert_eq!(seen, expected, "{}", fixture.file);
    }
}

#[test]
fn irq_info() {
    for (fixture, expected) in of(Kind::Irq, 72) {
        let reply = fixture.bytes();
        let info = IrqInfo::decode(&reply).expect(&fixture.file);
        let head: abi::IrqInfo = head(&reply);
        let seen = json!({
            "argsz": head.argsz, "flags": info.flags.bits(), "index": info.index,
            "count": info.count,
        });
        assert_eq!(seen, expected, "{}", fixture.file);
    }
}

#[test]
fn hot_reset_info() {
    let mut short = 0;
    for (fixture, expected) in of(Kind::HotReset, 50) {
        let reply = fixture.bytes();
        let head: abi::PciHotResetInfo = head(&reply);
        let devices = match HotResetInfo::decode(&reply) {
            Ok(info) => {
                assert_eq!(fixture.result(), Ok(()), "{}", fixture.file);
                assert_eq!(info.flags, head.flags, "{}", fixture.file);
                let list: Vec<_> = info
                    .devices
                    .iter()
                    .map(|device| {
                        json!({
                            "group_id_or_devid": device.group_id, "segment": device.segment,
                            "bus": device.bus, "devfn": device.devfn,
                        })
                    })
                    .collect();
                list.into()
            }
            Err(InfoError::TooSmall {
                head: carried,
                needed,
            }) => {
                assert_eq!(fixture.result(), Err(Errno::ENOSPC), "{}", fixture.file);
                assert_eq!(carried, head, "{}", fixture.file);
                assert_eq!(needed, 12 + 8 * u64::from(head.count), "{}", fixture.file);
                short += 1;
                Value::Null
            }
            Err(error) => panic!("{}: {error}", fixture.file),
        };
        let seen = json!({
            "argsz": head.argsz, "flags": head.flags.bits(), "count": head.count,
            "devices": devices,
        });
        assert_eq!(seen, expected, "{}", fixture.file);
    }
    assert_eq!(short, 4);
}

#[test]
fn the_regions_of_an_intel_graphics_device_are_told_by_their_type() {
    let kinds: Vec<_> = of(Kind::Region, 154)
        .into_iter()
        .filter(|(fixture, _)| fixture.label == "VGA-as-IGD" && fixture.argsz_in == 4096)
        .map(|(fixture, _)| {
            let reply = fixture.bytes();
            let info = RegionInfo::decode(&reply).unwrap();
            (info.index, info.kind())
        })
        .collect();
    assert_eq!(
        kinds,
        [
            (9, Some(RegionKind::INTEL_IGD_OPREGION)),
            (10, Some(RegionKind::INTEL_IGD_HOST_CFG)),
            (11, Some(RegionKind::INTEL_IGD_LPC_CFG)),
        ]
    );
}
