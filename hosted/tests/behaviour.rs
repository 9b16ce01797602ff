//! The simulated kernel does what guests see the real one do.

use std::ffi::CString;

use vfio_conformance::behaviour::{dirty, feature, hot_reset, ioeventfd, low_power, migration};
use vfio_core::device::Device;
use vfio_core::device::reset::Ownership;
use vfio_core::open::AddressSpace;
use vfio_core::open::container::{Container, Group};
use vfio_core::open::iommufd::Ioas;
use vfio_core::open::{Mode, Session};
use vfio_core::sys::Errno;
use vfio_core::wire::abi::{Extension, HotResetFlags, PciDependentDevice};
use vfio_hosted::model::{self, Description, HotReset, Model};
use vfio_hosted::sim::Kernel;

const GROUP: u32 = 3;
const NAME: &str = "0000:01:00.0";

/// A device that was opened through its group in a container of type1v2.
struct Opened {
    kernel: Kernel,
    container: Container<Kernel>,
    group: Group<Kernel>,
    device: Device<Kernel>,
}

fn open_in(kernel: Kernel, name: &str, group: u32) -> Opened {
    let container = Container::open(kernel.clone()).unwrap();
    let group = container.attach(group).unwrap();
    container.set_iommu(Extension::TYPE1V2_IOMMU).unwrap();
    let device = group.device(&CString::new(name).unwrap()).unwrap();
    Opened {
        kernel,
        container,
        group,
        device,
    }
}

fn open(model: Model) -> Opened {
    open_in(Kernel::new().with_device(NAME, model, GROUP), NAME, GROUP)
}

#[test]
fn features() {
    for model in [model::edu(), model::msix(), model::igd()] {
        feature::probe(&open(model).device, false).unwrap();
    }
    feature::probe_sample(&open(model::mtty(1)).device).unwrap();
    let kernel = Kernel::new()
        .with_device(NAME, model::edu(), GROUP)
        .with_virtual_function("0000:01:00.1", model::edu(), 4, NAME);
    let physical = open_in(kernel, NAME, GROUP);
    feature::probe(&physical.device, true).unwrap();
}

#[test]
fn low_power() {
    for (model, offset) in [
        (model::edu(), low_power::EDU),
        (model::nvme(), low_power::NVME),
    ] {
        let Opened { kernel, device, .. } = open(model);
        let sleeps = || {
            assert!(kernel.is_asleep(NAME));
            Ok(())
        };
        low_power::config(&kernel, &device, sleeps).unwrap();
        low_power::registers(&kernel, &device, offset, sleeps).unwrap();
        device.enter_low_power().unwrap();
        drop(device);
        assert!(!kernel.is_asleep(NAME));
    }
}

#[test]
fn migrations() {
    let (source, target) = (open(model::mtty(1)), open(model::mtty(1)));
    migration::stop_copy(&source.device, &target.device).unwrap();
    let (source, target) = (open(model::mtty(1)), open(model::mtty(1)));
    migration::pre_copy(&source.device, &target.device).unwrap();
    let (source, other) = (open(model::mtty(1)), open(model::mtty(2)));
    migration::refused(&source.device, &other.device).unwrap();
    let without = open(model::edu());
    migration::missing(&without.device).unwrap();
    for opened in [source, target, other, without] {
        let Opened { kernel, .. } = &opened;
        let kernel = kernel.clone();
        drop(opened);
        assert_eq!(kernel.open_files(), 0);
    }
}

#[test]
fn dirty_pages() {
    let opened = open(model::edu());
    dirty::container(&opened.kernel, &opened.container).unwrap();
    dirty::missing(&opened.device).unwrap();
    dirty::logged(&open(model::mtty(1)).device).unwrap();
}

#[test]
fn dirty_pages_are_not_tracked_everywhere() {
    for (mode, expected) in [
        (Mode::Type1v2, Ok(())),
        (Mode::Type1, Err(Errno::EACCES)),
        (Mode::IommufdType1v2, Err(Errno::ENOTTY)),
        (Mode::IommufdType1, Err(Errno::ENOTTY)),
    ] {
        let kernel = Kernel::new().with_device("0000:01:00.0", model::edu(), GROUP);
        let place = kernel.place("0000:01:00.0").unwrap();
        let session = Session::open_in(mode, &kernel, &place.as_place()).unwrap();
        let AddressSpace::Container(container) = &session.space else {
            panic!("{mode} has a container")
        };
        assert_eq!(container.start_dirty_tracking(), expected, "{mode}");
    }
}

#[test]
fn ioeventfds() {
    // A display's memory.
    let opened = open(Model::new(Description {
        regions: display_regions(),
        ..model::edu().description().clone()
    }));
    let Opened { kernel, device, .. } = &opened;
    hot_reset::enable(device).unwrap();
    ioeventfd::every_width(kernel, device, 0x1000).unwrap();
}

fn display_regions() -> Vec<Option<vfio_hosted::model::RegionDescription>> {
    model::edu().description().regions.clone()
}

/// Returns two functions of one slot, each with memory in BAR 0. `groups` are theirs.
fn slot(groups: [u32; 2]) -> Kernel {
    let names = ["0000:02:00.0", "0000:02:00.1"];
    let devices: Vec<_> = (0..2)
        .map(|function| PciDependentDevice {
            group_id: groups[usize::from(function)],
            bus: 2,
            devfn: function,
            ..Default::default()
        })
        .collect();
    let model = || {
        Model::new(Description {
            hot_reset: HotReset::Devices(devices.clone()),
            ..model::edu().description().clone()
        })
    };
    let kernel = Kernel::new().with_device(names[0], model(), groups[0]);
    kernel.with_device(names[1], model(), groups[1])
}

#[test]
fn hot_resets_by_group() {
    let root = open(model::edu());
    hot_reset::by_group(&root.device, &root.group, true).unwrap();
    let alone = open(model::msix());
    hot_reset::by_group(&alone.device, &alone.group, false).unwrap();
    hot_reset::by_nobody(&alone.device).unwrap();

    let opened = open_in(slot([GROUP; 2]), "0000:02:00.0", GROUP);
    let Opened { group, device, .. } = &opened;
    hot_reset::by_group(device, group, false).unwrap();
    let sibling = group.device(c"0000:02:00.1").unwrap();
    hot_reset::cleared(&[device, &sibling], 0x800, || {
        Ok(device.hot_reset(&Ownership::Groups(&[group.fd()]), &mut [0; 16])?)
    })
    .unwrap();
    // More groups than devices.
    hot_reset::of_another(device, &[group; 3]).unwrap();
}

#[test]
fn hot_resets_of_what_is_not_owned() {
    let opened = open_in(slot([GROUP, 4]), "0000:02:00.0", GROUP);
    hot_reset::of_another(&opened.device, &[&opened.group]).unwrap();
    let sibling = opened.container.attach(4).unwrap();
    let both = [opened.group.fd(), sibling.fd()];
    let reset = opened
        .device
        .hot_reset(&Ownership::Groups(&both), &mut [0; 20]);
    assert_eq!(reset, Ok(()));
    hot_reset::of_another(&opened.device, &[&sibling]).unwrap();
}

#[test]
fn hot_resets_by_iommufd() {
    let kernel = slot([GROUP, 4]);
    let path = |name| kernel.device_path(name).unwrap();
    let ioas = Ioas::open(kernel.clone()).unwrap();
    let device = ioas.attach(&path("0000:02:00.0")).unwrap();
    let info = |device: &Device<Kernel>| {
        let mut buffer = [0; 64];
        let info = device.hot_reset_info(&mut buffer).unwrap();
        let ids: Vec<u32> = info.devices.iter().map(|other| other.group_id).collect();
        (info.flags, ids)
    };
    // The sibling's group is nobody's.
    let by_id = HotResetFlags::DEV_ID;
    let (flags, ids) = info(&device);
    assert_eq!((flags, ids[1]), (by_id, u32::MAX));
    hot_reset::of_another(&device, &[]).unwrap();
    let sibling = ioas.attach(&path("0000:02:00.1")).unwrap();
    let (flags, ids) = info(&device);
    assert_eq!(flags, by_id | HotResetFlags::DEV_ID_OWNED);
    assert!(ids.iter().all(|id| *id != 0 && *id != u32::MAX) && ids[0] != ids[1]);
    hot_reset::by_iommufd(&device, false).unwrap();
    hot_reset::cleared(&[&device, &sibling], 0x800, || {
        Ok(device.hot_reset(&Ownership::Iommufd, &mut [0; 12])?)
    })
    .unwrap();
    // Another's iommufd owns it now.
    drop(sibling);
    let other = Ioas::open(kernel.clone()).unwrap();
    let sibling = other.attach(&path("0000:02:00.1")).unwrap();
    hot_reset::of_another(&device, &[]).unwrap();
    hot_reset::of_another(&sibling, &[]).unwrap();
}

#[test]
fn a_device_that_nobody_opened_is_owned_with_its_group() {
    let kernel = slot([GROUP; 2]);
    let ioas = Ioas::open(kernel.clone()).unwrap();
    let path = kernel.device_path("0000:02:00.0").unwrap();
    let device = ioas.attach(&path).unwrap();
    let mut buffer = [0; 64];
    let info = device.hot_reset_info(&mut buffer).unwrap();
    assert_eq!(
        info.flags,
        HotResetFlags::DEV_ID | HotResetFlags::DEV_ID_OWNED
    );
    assert_eq!(info.devices.get(1).unwrap().group_id, 0);
    hot_reset::by_iommufd(&device, false).unwrap();
}
