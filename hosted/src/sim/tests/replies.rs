//! The INFO replies of the models, through the query.
//!
//! The numbers are those that Linux 6.12 (`edu`, `igd`, `msix`) and libvfio-user (`sparse`) gave.

use std::vec;
use std::vec::Vec;

use vfio_core::query::{self, QueryError};
use vfio_core::wire::abi::{IovaRange, PciDependentDevice, RegionSparseMmapArea};
use vfio_core::wire::caps::{IommuCap, RegionCap, RegionKind};
use vfio_core::wire::info::Mappable;

use super::*;
use crate::model;

/// Returns flags, number of regions, number of interrupts.
fn device(opened: &Opened) -> (u32, u32, u32) {
    let mut reply = [0; 24];
    let info = query::device(&opened.kernel, &opened.device, &mut reply).unwrap();
    assert!(info.caps.is_empty());
    (info.flags.bits(), info.num_regions, info.num_irqs)
}

/// Returns index, flags, size and offset of the regions that are not empty. The largest reply's
/// length.
fn regions(opened: &Opened) -> Vec<(u32, u32, u64, u64)> {
    let (_, count, _) = device(opened);
    let mut regions = Vec::new();
    for index in 0..count {
        match query::region(&opened.kernel, &opened.device, index, &mut [0; 256]) {
            Ok(info) => {
                if info.size != 0 {
                    regions.push((index, info.flags.bits(), info.size, info.offset));
                }
            }
            Err(error) => assert_eq!(error, QueryError::Errno(Errno::EINVAL)),
        }
    }
    let past = query::region(&opened.kernel, &opened.device, count, &mut [0; 256]).err();
    assert_eq!(past, Some(QueryError::Errno(Errno::EINVAL)));
    regions
}

/// Flags and counts of the interrupts by index.
fn irqs(opened: &Opened) -> [Option<(u32, u32)>; 6] {
    [0, 1, 2, 3, 4, 5].map(|index| {
        query::irq(&opened.kernel, &opened.device, index)
            .map(|info| (info.flags.bits(), info.count))
            .ok()
    })
}

/// Returns the sparse areas of a region.
fn areas(opened: &Opened, index: u32) -> Vec<(u64, u64)> {
    let mut reply = [0; 256];
    let info = query::region(&opened.kernel, &opened.device, index, &mut reply).unwrap();
    match info.mappable() {
        Mappable::Areas(sparse) => sparse
            .areas
            .iter()
            .map(|area: RegionSparseMmapArea| (area.offset, area.size))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn edu() {
    let opened = open(model::edu());
    assert_eq!(device(&opened), (2, 9, 5));
    assert_eq!(
        regions(&opened),
        [(0, 7, 1 << 20, 0), (7, 3, 256, 7_696_581_394_432)]
    );
    assert_eq!(
        irqs(&opened),
        [
            Some((7, 1)),
            Some((9, 1)),
            Some((9, 0)),
            None,
            Some((9, 1)),
            None
        ]
    );
    let hot_reset = query::hot_reset(&opened.kernel, &opened.device, &mut [0; 64]).err();
    assert_eq!(hot_reset, Some(QueryError::Errno(Errno::ENODEV)));
}

#[test]
fn the_iommu_of_edu() {
    let opened = open(model::edu());
    let mut reply = [0; 120];
    let info = query::iommu(&opened.kernel, &opened.container, &mut reply).unwrap();
    assert_eq!((info.flags.bits(), info.iova_pgsizes), (3, 1_075_843_072));
    assert_eq!(info.dma_avail(), Some(65_535));
    let migration = IommuCap::Migration {
        flags: 0,
        pgsize_bitmap: 4096,
        max_dirty_bitmap_size: 268_435_456,
    };
    assert_eq!(info.caps.iter().next(), Some(migration));
    let ranges = [
        IovaRange {
            start: 0,
            end: 4_276_092_927,
        },
        IovaRange {
            start: 4_277_141_504,
            end: 281_474_976_710_655,
        },
    ];
    assert!(info.iova_ranges().unwrap().iter().eq(ranges));
    let offsets: Vec<_> = info.caps.chain().iter().map(|cap| cap.offset).collect();
    assert_eq!(offsets, [24, 56, 72]);
}

#[test]
fn igd() {
    let opened = open(model::igd());
    assert_eq!(device(&opened), (2, 12, 5));
    assert_eq!(
        regions(&opened),
        [
            (0, 7, 16_777_216, 0),
            (2, 7, 4096, 2_199_023_255_552),
            (6, 1, 131_072, 6_597_069_766_656),
            (7, 3, 256, 7_696_581_394_432),
            (8, 3, 786_432, 8_796_093_022_208),
            (9, 9, 8192, 9_895_604_649_984),
            (10, 9, 256, 10_995_116_277_760),
            (11, 9, 256, 12_094_627_905_536),
        ]
    );
    let kinds = [
        (9, RegionKind::INTEL_IGD_OPREGION),
        (10, RegionKind::INTEL_IGD_HOST_CFG),
        (11, RegionKind::INTEL_IGD_LPC_CFG),
    ];
    for (index, kind) in kinds {
        let mut reply = [0; 48];
        let info = query::region(&opened.kernel, &opened.device, index, &mut reply).unwrap();
        assert_eq!(info.kind(), Some(kind));
        assert_eq!((kind.type_().0, kind.subtype().0), (0x8000_8086, index - 8));
    }
    let mut reply = [0; 120];
    let info = query::iommu(&opened.kernel, &opened.container, &mut reply).unwrap();
    let last = info.iova_ranges().unwrap().iter().next_back().unwrap();
    assert_eq!((last.start, last.end), (4_277_141_504, 549_755_813_887));
}

#[test]
fn sparse() {
    let opened = open(model::sparse());
    assert_eq!(device(&opened), (3, 9, 5));
    let regions: Vec<_> = regions(&opened)
        .into_iter()
        .map(|(index, flags, size, _)| (index, flags, size))
        .collect();
    assert_eq!(regions, [(0, 15, 16_384), (2, 15, 65_536), (7, 3, 256)]);
    assert_eq!(areas(&opened, 0), [(0, 16_384)]);
    let nine: Vec<_> = (1..=9).map(|page| (page * 4096, 4096)).collect();
    assert_eq!(areas(&opened, 2), nine);
    assert_eq!(
        irqs(&opened),
        [
            Some((1, 0)),
            Some((1, 0)),
            Some((1, 0)),
            Some((1, 1)),
            Some((1, 1)),
            None
        ]
    );
}

#[test]
fn msix() {
    let opened = open(model::msix());
    assert_eq!(device(&opened), (3, 9, 5));
    assert_eq!(
        regions(&opened),
        [(0, 15, 16_384, 0), (7, 3, 4096, 7_696_581_394_432)]
    );
    assert_eq!(
        irqs(&opened),
        [
            Some((7, 1)),
            Some((9, 0)),
            Some((1, 65)),
            Some((9, 1)),
            Some((9, 1)),
            None
        ]
    );
    let mut reply = [0; 40];
    let info = query::region(&opened.kernel, &opened.device, 0, &mut reply).unwrap();
    assert!(info.caps.iter().eq([RegionCap::MsixMappable]));
    assert_eq!(info.mappable(), Mappable::Everything);

    let mut reply = [0; 20];
    let set = query::hot_reset(&opened.kernel, &opened.device, &mut reply).unwrap();
    let itself = PciDependentDevice {
        group_id: 3,
        segment: 0,
        bus: 1,
        devfn: 0,
    };
    assert_eq!(set.flags.bits(), 0);
    assert!(set.devices.iter().eq([itself]));
}

#[test]
fn legacy_msix() {
    let opened = open(model::legacy_msix());
    assert_eq!(areas(&opened, 0), [(0, 0x2000), (0x3000, 0x1000)]);
    assert_eq!(irqs(&opened)[2], Some((9, 65)));
    let opened = open(model::legacy_msix_full());
    assert_eq!(areas(&opened, 1), [(0, 0)]);
    // Neither the device nor the IOMMU wrote more than the first structures had.
    let mut reply = [0; 64];
    reply[16..].fill(0xa5);
    let asked = vfio_core::sys::InfoRequest::Iommu;
    opened
        .kernel
        .ioctl_info(&opened.container, asked, &mut reply)
        .unwrap();
    assert_eq!(reply[..8], [64, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(reply[16..], [0xa5; 48]);
}

/// How many bytes the reply to a question needs, as the smallest buffer is told.
trait Needs {
    fn needs(self) -> Option<u64>;
}

impl<T, H: std::fmt::Debug> Needs for Result<T, QueryError<H>> {
    fn needs(self) -> Option<u64> {
        match self {
            Ok(_) => None,
            Err(QueryError::TooSmall { needed, .. }) => Some(needed),
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Asks with buffers of the least length, of what is needed, of one byte less, and of plenty.
fn at_every_length(least: usize, ask: impl Fn(&mut [u8]) -> Option<u64>) {
    let Some(needed) = ask(&mut vec![0; least]) else {
        assert_eq!(ask(&mut vec![0; 4096]), None);
        return;
    };
    let exact = usize::try_from(needed).unwrap();
    assert_eq!(ask(&mut vec![0; exact - 1]), Some(needed));
    assert_eq!(ask(&mut vec![0; exact]), None);
    assert_eq!(ask(&mut vec![0; 4096]), None);
}

#[test]
fn every_model_answers_at_every_length() {
    for name in Model::NAMES {
        let opened = open(Model::by_name(name).unwrap());
        let Opened { kernel, device, .. } = &opened;
        at_every_length(24, |reply| query::device(kernel, device, reply).needs());
        at_every_length(24, |reply| {
            query::iommu(kernel, &opened.container, reply).needs()
        });
        for (index, ..) in regions(&opened) {
            at_every_length(32, |reply| {
                query::region(kernel, device, index, reply).needs()
            });
        }
        if query::hot_reset(kernel, device, &mut [0; 64]).is_ok() {
            at_every_length(12, |reply| query::hot_reset(kernel, device, reply).needs());
        }
    }
    assert!(Model::by_name("e1000").is_none());
}

#[test]
fn the_common_case_is_one_ioctl() {
    let opened = open(model::sparse());
    let before = opened.kernel.calls();
    query::region(&opened.kernel, &opened.device, 2, &mut [0; 256]).unwrap();
    assert_eq!(opened.kernel.calls().ioctl() - before.ioctl(), 1);
}
