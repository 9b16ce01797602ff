//! The reference drivers on the simulated kernel, through the client types of the core.

use vfio_core::abi::{pci_irq, pci_region};
use vfio_core::container::Container;
use vfio_core::device::Device;
use vfio_core::dma::{AddressSpace, Direction, Dma};
use vfio_core::iommufd::Ioas;
use vfio_core::mmio::ReadWrite;
use vfio_core::pci::{Command, Config, DeviceConfig};
use vfio_drivers::edu::{Edu, EduError, Outcome, exercise};

use super::*;
use crate::sim::{DmaAccess, FaultReason, IOMMUFD_PATH, model};

#[derive(Clone, Copy, Debug)]
enum Mode {
    Group(&'static std::ffi::CStr, Extension),
    Cdev,
}

/// The ways to an I/O address space.
const MODES: [Mode; 5] = [
    Mode::Group(CONTAINER_PATH, Extension::TYPE1_IOMMU),
    Mode::Group(CONTAINER_PATH, Extension::TYPE1V2_IOMMU),
    Mode::Group(IOMMUFD_PATH, Extension::TYPE1_IOMMU),
    Mode::Group(IOMMUFD_PATH, Extension::TYPE1V2_IOMMU),
    Mode::Cdev,
];

/// Opens edu, and lets it master the bus.
fn open_edu(kernel: &Kernel, mode: Mode) -> (AddressSpace<Kernel>, Device<Kernel>) {
    let (space, device) = match mode {
        Mode::Group(path, iommu) => {
            let container = Container::open_at(kernel.clone(), path).unwrap();
            let group = container.attach(GROUP).unwrap();
            container.set_iommu(iommu).unwrap();
            let device = group.device(C_NAME).unwrap();
            (AddressSpace::Container(container), device)
        }
        Mode::Cdev => {
            let ioas = Ioas::open(kernel.clone()).unwrap();
            let path = kernel.device_path(NAME).unwrap();
            let device = ioas.attach(&path).unwrap();
            (AddressSpace::Ioas(ioas), device)
        }
    };
    master(&device, true);
    (space, device)
}

fn master(device: &Device<Kernel>, is_on: bool) {
    let mut config = Config::new(DeviceConfig::ask(device, &mut [0; 512]).unwrap());
    let mut command = config.command().unwrap();
    command.set(Command::MASTER, is_on);
    config.set_command(command).unwrap();
}

#[test]
fn edu_passes_every_step_in_every_mode() {
    for mode in MODES {
        let kernel = Kernel::new().with_device(NAME, model::edu(), GROUP);
        let (space, device) = open_edu(&kernel, mode);
        let dma = Dma::<_, 16>::new(kernel.clone(), space).unwrap();
        let mut buffer = [0; 64];
        let region = device.region(pci_region::BAR0, &mut buffer).unwrap();
        let bar0 = device.map::<ReadWrite>(&region, 0).unwrap();
        assert_eq!(kernel.live_mappings(), 1);
        let report = exercise(&device, bar0, &dma);
        for (step, outcome) in &report.steps {
            assert_eq!(*outcome, Outcome::Passed, "{mode:?}: {}", step.name());
        }
        assert_eq!(kernel.faults(), []);
        assert_eq!(kernel.live_mappings(), 0);
        assert_eq!(kernel.live_dma_mappings(), 0);
        assert_eq!(kernel.open_events(), 0);
        drop(device);
        drop(dma);
        assert_eq!((kernel.open_files(), kernel.live_containers()), (0, 0));
    }
}

#[test]
fn edu_passes_every_step_when_trapped() {
    let kernel = Kernel::new().with_device(NAME, model::edu(), GROUP);
    let (space, device) = open_edu(&kernel, MODES[1]);
    let dma = Dma::<_, 16>::new(kernel.clone(), space).unwrap();
    let mut buffer = [0; 64];
    let region = device.region(pci_region::BAR0, &mut buffer).unwrap();
    let report = exercise(&device, device.trap::<ReadWrite>(&region).unwrap(), &dma);
    assert!(report.passed(), "{report:?}");
}

#[test]
fn edu_interrupts_through_its_pin() {
    let kernel = Kernel::new().with_device(NAME, model::edu(), GROUP);
    let (_space, device) = open_edu(&kernel, MODES[1]);
    let mut buffer = [0; 64];
    let region = device.region(pci_region::BAR0, &mut buffer).unwrap();
    let mut edu = Edu::new(device.map::<ReadWrite>(&region, 0).unwrap()).unwrap();
    let vectors = device.vectors::<1>(pci_irq::INTX).unwrap();
    for bits in [1, 2, 0x8000_0000] {
        edu.raise(bits, &vectors).unwrap();
    }
    assert_eq!(edu.factorial_by_interrupt(10, &vectors), Ok(3_628_800));
    assert_eq!(vectors.take(0), Ok(0));
}

#[test]
fn a_driver_that_forgets_bus_mastering_moves_nothing() {
    let kernel = Kernel::new().with_device(NAME, model::edu(), GROUP);
    let (space, device) = open_edu(&kernel, Mode::Cdev);
    master(&device, false);
    let dma = Dma::<_, 16>::new(kernel.clone(), space).unwrap();
    let mut buffer = [0; 64];
    let region = device.region(pci_region::BAR0, &mut buffer).unwrap();
    let mut edu = Edu::new(device.map::<ReadWrite>(&region, 0).unwrap()).unwrap();
    let mut memory = dma
        .buffer_up_to(4096, Direction::Both, (1 << 28) - 1)
        .unwrap();
    memory.window().write::<u64>(0, 7).unwrap();
    edu.copy_to_memory(&mut memory, 8).unwrap();
    assert_eq!(memory.window().read::<u64>(0), Ok(7));
    let faults = kernel.faults();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].reason, FaultReason::BusMasterOff);
    assert_eq!(
        (faults[0].access, faults[0].iova, faults[0].device.as_str()),
        (DmaAccess::Write, memory.iova(), NAME)
    );
}

#[test]
fn rights_of_a_mapping_are_kept() {
    for mode in MODES {
        let kernel = Kernel::new().with_device(NAME, model::edu(), GROUP);
        let (space, device) = open_edu(&kernel, mode);
        let dma = Dma::<_, 16>::new(kernel.clone(), space).unwrap();
        let mut buffer = [0; 64];
        let region = device.region(pci_region::BAR0, &mut buffer).unwrap();
        let mut edu = Edu::new(device.map::<ReadWrite>(&region, 0).unwrap()).unwrap();
        let highest = (1 << 28) - 1;
        let mut source = dma.buffer_up_to(1, Direction::ToDevice, highest).unwrap();
        let mut target = dma.buffer_up_to(1, Direction::FromDevice, highest).unwrap();
        source.window().write::<u32>(0, 0x1234_5678).unwrap();
        edu.copy_to_device(&source, 4).unwrap();
        edu.copy_to_memory(&mut source, 4).unwrap();
        edu.copy_to_device(&target, 4).unwrap();
        let refused: std::vec::Vec<_> = kernel
            .faults()
            .iter()
            .map(|fault| (fault.iova, fault.access, fault.reason))
            .collect();
        assert_eq!(
            refused,
            [
                (source.iova(), DmaAccess::Write, FaultReason::Forbidden),
                (target.iova(), DmaAccess::Read, FaultReason::Forbidden),
            ]
        );
        // The faults left the device's buffer as it was.
        edu.copy_to_memory(&mut target, 4).unwrap();
        assert_eq!(target.window().read::<u32>(0), Ok(0x1234_5678));
    }
}

#[test]
fn an_interrupt_that_is_not_waited_for_by_the_one_who_started_it_arrives() {
    let kernel = Kernel::new().with_device(NAME, model::edu(), GROUP);
    let (_space, device) = open_edu(&kernel, Mode::Cdev);
    let mut buffer = [0; 64];
    let region = device.region(pci_region::BAR0, &mut buffer).unwrap();
    let vectors = device.vectors::<1>(pci_irq::MSI).unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| vectors.wait(0, std::time::Duration::from_secs(20)));
        let mut bar0 = device.map::<ReadWrite>(&region, 0).unwrap();
        bar0.write::<u32>(0x20, 0x80).unwrap();
        bar0.write::<u32>(0x08, 5).unwrap();
        assert_eq!(waits.join().unwrap(), Ok(1));
        assert_eq!(bar0.read::<u32>(0x08), Ok(120));
    });
    let none = vectors.wait(0, std::time::Duration::from_millis(5));
    assert_eq!(none, Ok(0));
}

#[test]
fn another_device_is_told_from_edu() {
    let kernel = Kernel::new().with_device(NAME, model::msix(), GROUP);
    let (_space, device) = open_edu(&kernel, Mode::Cdev);
    let mut buffer = [0; 64];
    let region = device.region(pci_region::BAR0, &mut buffer).unwrap();
    let edu = Edu::new(device.map::<ReadWrite>(&region, 0).unwrap());
    assert_eq!(edu.err(), Some(EduError::NotEdu { id: 0 }));
}
