//! How many system calls it takes to open a device, and to map memory for it.

use vfio_core::dma::{Direction, Dma};
use vfio_core::mmio::Window;
use vfio_core::open::{Mode, Session};
use vfio_core::sys::{NoIommu, Pages, Sys as _};
use vfio_core::wire::abi::pci_region;
use vfio_hosted::OwnedPlace;
use vfio_hosted::model;
use vfio_hosted::sim::{Calls, Kernel};

const NAME: &str = "0000:00:05.0";

/// The most calls from nothing to the first access of a register.
const MOST: u64 = 16;

fn kernel(mode: Mode) -> (Kernel, OwnedPlace) {
    let kernel = match mode {
        Mode::NoIommu => Kernel::new().with_noiommu_device(NAME, model::edu(), 3),
        _ => Kernel::new().with_device(NAME, model::edu(), 3),
    };
    let place = OwnedPlace {
        // SAFETY: simulated devices reach nothing but memory of the simulated kernel.
        noiommu: Some(unsafe { NoIommu::acknowledge() }),
        ..kernel.place(NAME).unwrap()
    };
    (kernel, place)
}

/// Returns all of them. What an allocator of memory does is no call.
fn all(calls: &Calls) -> u64 {
    let files = calls.open + calls.close + calls.pread + calls.pwrite + calls.read + calls.write;
    let memory = calls.map + calls.unmap + calls.memory;
    files + memory + calls.ioctl() + calls.event + calls.event_read
}

#[test]
fn a_device_is_open_and_mapped_after_few_calls() {
    for (mode, expected) in [
        (Mode::Iommufd, 7),
        (Mode::Type1v2, 11),
        (Mode::Type1, 11),
        (Mode::IommufdType1v2, 11),
        (Mode::IommufdType1, 11),
        (Mode::NoIommu, 11),
    ] {
        let (kernel, place) = kernel(mode);
        let session = Session::open_in(mode, &kernel, &place.as_place()).unwrap();
        let mut reply = [0; 256];
        let bar0 = session.device.region(pci_region::BAR0, &mut reply).unwrap();
        let window: Window<_> = session.device.map(&bar0, 0).unwrap();
        let opened = all(&kernel.calls());
        assert_eq!(opened, expected, "{mode}: {:?}", kernel.calls());
        drop(window);

        // Its config space is found, and decoding and bus mastering switched on.
        let (kernel, place) = self::kernel(mode);
        let session = Session::open_in(mode, &kernel, &place.as_place()).unwrap();
        let _window = session.device.bring_up(pci_region::BAR0).unwrap();
        let ready = all(&kernel.calls());
        assert_eq!(ready, expected + 3, "{mode}: {:?}", kernel.calls());
        assert!(ready <= MOST);
    }
}

#[test]
fn memory_is_mapped_and_unmapped_by_one_call_each() {
    for mode in Mode::PREFERRED {
        if mode == Mode::NoIommu {
            continue;
        }
        let (kernel, place) = kernel(mode);
        let Session { device, space, .. } =
            Session::open_in(mode, &kernel, &place.as_place()).unwrap();
        let memory = kernel.memory(64 << 12, Pages::Ordinary).unwrap();
        let before = all(&kernel.calls());
        for page in 0..64 {
            let start = page << 12;
            let iova = 0x10_0000 + start as u64;
            let range = start..start + 0x1000;
            // SAFETY: the simulated kernel keeps what is mapped of its memory.
            unsafe { space.map(&memory, range, iova, Direction::Both) }.unwrap();
        }
        assert_eq!(all(&kernel.calls()) - before, 64, "{mode}");
        for page in 0..64 {
            space.unmap(0x10_0000 + (page << 12), 0x1000).unwrap();
        }
        assert_eq!(all(&kernel.calls()) - before, 128, "{mode}");

        // A buffer is memory of its own besides.
        let dma = Dma::<_, 16>::new(kernel.clone(), space).unwrap();
        let before = kernel.calls();
        let buffer = dma.buffer(0x1000, Direction::Both).unwrap();
        let after = kernel.calls();
        assert_eq!(after.memory - before.memory, 1);
        assert_eq!(all(&after) - all(&before), 2, "{mode}");
        assert_eq!(buffer.len(), 0x1000);
        drop(buffer);
        drop(device);
    }
}

#[test]
fn a_mapped_register_takes_no_call_and_a_trapped_one_takes_one() {
    let (kernel, place) = kernel(Mode::Type1v2);
    let session = Session::open_in(Mode::Type1v2, &kernel, &place.as_place()).unwrap();
    let device = session.device;
    let mut mapped = device.bring_up(pci_region::BAR0).unwrap();
    let mut reply = [0; 256];
    let region = device.region(pci_region::BAR0, &mut reply).unwrap();
    let mut trapped: Window<_> = device.trap(&region).unwrap();
    let before = all(&kernel.calls());
    let id = mapped.read::<u32>(0).unwrap();
    mapped.write::<u32>(4, 1).unwrap();
    assert_eq!(all(&kernel.calls()), before);
    assert_eq!(trapped.read::<u32>(0).unwrap(), id);
    trapped.write::<u32>(4, 1).unwrap();
    assert_eq!(all(&kernel.calls()) - before, 2);
}
