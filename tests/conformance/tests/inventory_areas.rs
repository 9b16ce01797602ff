//! An inventory says of a region what the region's own answer says.

use vfio_conformance::scripted::Scripted;
use vfio_core::device::{Device, Inventory};
use vfio_core::sys::InfoRequest;
use vfio_core::wire::abi::{DeviceFlags, RegionCapId, RegionFlags, RegionSparseMmapArea};
use vfio_core::wire::caps::{RegionCap, SparseMmap, Unknown};
use vfio_core::wire::info::Mappable;
use vfio_core::wire::server;

/// The areas that an inventory keeps of a region with these capabilities.
fn kept(caps: &[RegionCap<'_>]) -> Option<Vec<RegionSparseMmapArea>> {
    let region = server::RegionReply {
        flags: RegionFlags::READ | RegionFlags::MMAP,
        size: 0x4000,
        offset: 0,
        caps,
    };
    let described = server::DeviceReply {
        flags: DeviceFlags::PCI,
        regions: &[Some(region)],
        ..server::DeviceReply::default()
    };
    let sys = Scripted::new(|call, _, reply: &mut [u8]| {
        let request = match call {
            0 => InfoRequest::Device,
            _ => InfoRequest::Region,
        };
        described.answer(request, reply)
    });
    let device = Device::new(&sys, ());
    let inventory: Inventory<1, 0, 4> = device.inventory(&mut [0; 256]).unwrap();
    let region = inventory.regions()[0].unwrap();
    let kept = inventory.areas(&region).map(<[_]>::to_vec);

    let mut buffer = [0; 256];
    let expected = match device.region(0, &mut buffer).unwrap().mappable() {
        Mappable::Nothing => Some(Vec::new()),
        Mappable::Everything => None,
        Mappable::Areas(sparse) => Some(sparse.areas.iter().collect()),
    };
    assert_eq!(kept, expected);
    kept
}

#[test]
fn areas_that_cannot_be_read_leave_nothing_to_map() {
    let areas = [RegionSparseMmapArea {
        offset: 0x1000,
        size: 0x1000,
    }];
    let known = RegionCap::SparseMmap(SparseMmap::new(&areas));
    let unknown = RegionCap::Unknown(Unknown {
        id: RegionCapId::SPARSE_MMAP.0,
        version: 2,
        offset: 0,
        raw: &[0; 8],
    });
    assert_eq!(kept(&[]), None);
    assert_eq!(kept(&[known]), Some(areas.to_vec()));
    for caps in [&[unknown][..], &[known, unknown], &[unknown, known]] {
        assert_eq!(kept(caps), Some(Vec::new()), "{caps:?}");
    }
}
