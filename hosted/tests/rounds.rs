//! Devices that are opened and closed over and over, and driven by threads at once.

use vfio_conformance::session::{self, Reach};
use vfio_core::device::Device;
use vfio_core::dma::Dma;
use vfio_core::open::AddressSpace;
use vfio_core::open::Mode;
use vfio_core::open::container::Container;
use vfio_core::open::iommufd::Ioas;
use vfio_hosted::OwnedPlace;
use vfio_hosted::model;
use vfio_hosted::sim::Kernel;

/// The modes in which memory is mapped.
const MODES: [Mode; 5] = [
    Mode::Type1,
    Mode::Type1v2,
    Mode::IommufdType1,
    Mode::IommufdType1v2,
    Mode::Iommufd,
];

/// Builds a kernel with `devices` devices, each in a group of its own.
fn kernel(devices: u32) -> (Kernel, Vec<OwnedPlace>) {
    let name = |n: u32| format!("0000:00:{n:02x}.0");
    let kernel = (0..devices).fold(Kernel::new(), |kernel, n| {
        kernel.with_device(&name(n), model::edu(), n)
    });
    let places = (0..devices).map(|n| kernel.place(&name(n)).unwrap());
    let places = places.collect();
    (kernel, places)
}

#[test]
fn a_thousand_rounds_leave_nothing() {
    let (kernel, places) = kernel(1);
    for mode in MODES {
        for round in 0..1000 {
            session::edu(&kernel, &places[0].as_place(), mode, Reach::Mapped).unwrap();
            let left = [
                kernel.open_files(),
                kernel.open_events(),
                kernel.live_mappings(),
                kernel.live_dma_mappings(),
                kernel.live_containers(),
            ];
            assert_eq!(left, [0; 5], "{mode}, round {round}");
        }
    }
    assert_eq!(kernel.faults(), []);
}

/// Returns all devices in one address space.
fn open_all(
    kernel: &Kernel,
    places: &[OwnedPlace],
    mode: Mode,
) -> (AddressSpace<Kernel>, Vec<Device<Kernel>>) {
    let mut devices = Vec::new();
    if mode == Mode::Iommufd {
        let ioas = Ioas::open(kernel.clone()).unwrap();
        for place in places {
            devices.push(ioas.attach(place.cdev.as_ref().unwrap()).unwrap());
        }
        return (AddressSpace::Ioas(ioas), devices);
    }
    let container = Container::open_at(kernel.clone(), mode.container_path()).unwrap();
    for place in places {
        let group = container.attach(place.group.unwrap()).unwrap();
        if devices.is_empty() {
            container.set_iommu(mode.iommu()).unwrap();
        }
        devices.push(group.device(&place.name).unwrap());
    }
    (AddressSpace::Container(container), devices)
}

#[test]
fn two_threads_drive_four_devices_in_one_address_space() {
    for mode in MODES {
        let (kernel, places) = kernel(4);
        let (space, devices) = open_all(&kernel, &places, mode);
        let dma = Dma::<_, 16>::new(kernel.clone(), space).unwrap();
        std::thread::scope(|scope| {
            for pair in devices.chunks(2) {
                let dma = &dma;
                scope.spawn(move || {
                    for _ in 0..20 {
                        for device in pair {
                            session::drive(device, dma, Reach::Mapped).unwrap();
                        }
                    }
                });
            }
        });
        assert_eq!(kernel.live_dma_mappings(), 0, "{mode}");
        drop(devices);
        drop(dma);
        assert_eq!((kernel.open_files(), kernel.live_mappings()), (0, 0));
        assert_eq!(kernel.faults(), [], "{mode}");
    }
}

#[test]
fn threads_open_and_close_devices_at_once() {
    let (kernel, places) = kernel(4);
    std::thread::scope(|scope| {
        for (n, place) in places.iter().enumerate() {
            let kernel = &kernel;
            scope.spawn(move || {
                for mode in MODES.into_iter().cycle().skip(n).take(50) {
                    session::edu(kernel, &place.as_place(), mode, Reach::Trapped).unwrap();
                }
            });
        }
    });
    assert_eq!((kernel.open_files(), kernel.live_containers()), (0, 0));
    assert_eq!(kernel.faults(), []);
}
