//! Devices that are opened and closed over and over, and driven by threads at once.

use std::ffi::CString;

use vfio_core::dma::Dma;
use vfio_core::sys::Sys as _;
use vfio_hosted::sim::{Kernel, model};
use vfio_tests::session::{self, Reach};
use vfio_tests::way::{Place, Way};

/// A kernel with so many devices, each in a group of its own.
fn kernel(devices: u32) -> (Kernel, Vec<Place>) {
    let names = (0..devices).map(|n| (n, format!("0000:00:{n:02x}.0")));
    names.fold(
        (Kernel::new(), Vec::new()),
        |(kernel, mut places), (group, name)| {
            let kernel = kernel.with_device(&name, model::edu(), group);
            places.push(Place {
                cdev: kernel.device_path(&name).unwrap(),
                name: CString::new(name).unwrap(),
                group,
            });
            (kernel, places)
        },
    )
}

#[test]
fn a_thousand_rounds_leave_nothing() {
    let (kernel, places) = kernel(1);
    for way in Way::ALL {
        let number = |kernel: &Kernel| {
            let event = kernel.event().unwrap();
            kernel.event_number(&event)
        };
        let first = number(&kernel);
        for round in 0..1000 {
            session::edu(&kernel, &places[0], way, Reach::Mapped).unwrap();
            let left = [
                kernel.open_files(),
                kernel.open_events(),
                kernel.live_mappings(),
                kernel.live_dma_mappings(),
                kernel.live_containers(),
            ];
            assert_eq!(left, [0; 5], "{way:?}, round {round}");
        }
        assert_eq!(number(&kernel), first, "{way:?}: numbers are used up");
    }
    assert_eq!(kernel.faults(), []);
}

#[test]
fn two_threads_drive_four_devices_in_one_address_space() {
    for way in Way::ALL {
        let (kernel, places) = kernel(4);
        let space = way.space(&kernel).unwrap();
        let devices: Vec<_> = places
            .iter()
            .enumerate()
            .map(|(n, place)| way.device(&space, place, n == 0).unwrap())
            .collect();
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
        assert_eq!(kernel.live_dma_mappings(), 0, "{way:?}");
        drop(devices);
        drop(dma);
        assert_eq!((kernel.open_files(), kernel.live_mappings()), (0, 0));
        assert_eq!(kernel.faults(), [], "{way:?}");
    }
}

#[test]
fn threads_open_and_close_devices_at_once() {
    let (kernel, places) = kernel(4);
    std::thread::scope(|scope| {
        for (n, place) in places.iter().enumerate() {
            let kernel = &kernel;
            scope.spawn(move || {
                for way in Way::ALL.into_iter().cycle().skip(n).take(50) {
                    session::edu(kernel, place, way, Reach::Trapped).unwrap();
                }
            });
        }
    });
    assert_eq!((kernel.open_files(), kernel.live_containers()), (0, 0));
    assert_eq!(kernel.faults(), []);
}
