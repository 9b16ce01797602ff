//! The driver of edu on the simulated kernel.

use vfio_core::device::Device;
use vfio_core::dma::{Direction, Dma};
use vfio_core::mmio::{CanReadWrite, Window};
use vfio_core::open::AddressSpace;
use vfio_core::open::{Mode, Place, Session};
use vfio_core::pci::{Command, Config, DeviceConfig};
use vfio_core::wire::abi::{pci_irq, pci_region};
use vfio_drivers::edu::{DmaEngine, Edu, EduError};
use vfio_hosted::model::{self, DmaAccess, FaultReason, Model};
use vfio_hosted::sim::Kernel;

const NAME: &str = "0000:01:00.0";
const C_NAME: &std::ffi::CStr = c"0000:01:00.0";
const GROUP: u32 = 3;

/// Opens a device, and lets it master the bus.
fn open(model: Model, mode: Mode) -> (Kernel, AddressSpace<Kernel>, Device<Kernel>) {
    let kernel = Kernel::new().with_device(NAME, model, GROUP);
    let cdev = kernel.device_path(NAME);
    let place = Place {
        name: C_NAME,
        group: Some(GROUP),
        cdev: cdev.as_deref(),
        ..Default::default()
    };
    let session = Session::open_in(mode, &kernel, &place).unwrap();
    assert_eq!(session.mode, mode);
    master(&session.device, true);
    (kernel, session.space, session.device)
}

fn master(device: &Device<Kernel>, is_on: bool) {
    let mut config = Config::new(DeviceConfig::ask(device, &mut [0; 512]).unwrap());
    let mut command = config.command().unwrap();
    command.set(Command::MASTER, is_on);
    config.set_command(command).unwrap();
}

#[test]
fn edu_interrupts_through_its_pin() {
    let (_kernel, _space, device) = open(model::edu(), Mode::Type1v2);
    let mut buffer = [0; 64];
    let region = device.region(pci_region::BAR0, &mut buffer).unwrap();
    let mut edu = Edu::new(device.map::<CanReadWrite>(&region, 0).unwrap()).unwrap();
    let vectors = device.vectors::<1>(pci_irq::INTX).unwrap();
    for bits in [1, 2, 0x8000_0000] {
        edu.raise(bits, &vectors).unwrap();
    }
    assert_eq!(edu.factorial_by_interrupt(10, &vectors), Ok(3_628_800));
    assert_eq!(vectors.take(0), Ok(0));
}

#[test]
fn a_driver_that_forgets_bus_mastering_moves_nothing() {
    let (kernel, space, device) = open(model::edu(), Mode::Iommufd);
    master(&device, false);
    let dma = Dma::<_, 16>::new(kernel.clone(), space).unwrap();
    let mut buffer = [0; 64];
    let region = device.region(pci_region::BAR0, &mut buffer).unwrap();
    let edu = Edu::new(device.map::<CanReadWrite>(&region, 0).unwrap()).unwrap();
    let mut engine = DmaEngine::new(edu, &dma, Direction::Both).unwrap();
    let memory = engine.memory().unwrap();
    Window::new(memory).write::<u64>(0, 7).unwrap();
    let iova = memory.iova();
    let mut bytes = [0; 8];
    engine.read(&mut bytes).unwrap();
    assert_eq!(u64::from_le_bytes(bytes), 7);
    let faults = kernel.faults();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].reason, FaultReason::BusMasterOff);
    assert_eq!(
        (faults[0].access, faults[0].iova, faults[0].device.as_str()),
        (DmaAccess::Write, iova, NAME)
    );
}

#[test]
fn rights_of_a_mapping_are_kept() {
    for mode in Mode::PREFERRED
        .into_iter()
        .filter(|mode| *mode != Mode::NoIommu)
    {
        let (kernel, space, device) = open(model::edu(), mode);
        let dma = Dma::<_, 16>::new(kernel.clone(), space).unwrap();
        let mut buffer = [0; 64];
        let region = device.region(pci_region::BAR0, &mut buffer).unwrap();
        let edu = Edu::new(device.map::<CanReadWrite>(&region, 0).unwrap()).unwrap();
        let word = 0x1234_5678_u32.to_le_bytes();
        let mut bytes = [0; 4];
        let mut source = DmaEngine::new(edu, &dma, Direction::ToDevice).unwrap();
        let read_only = source.memory().unwrap().iova();
        source.write(&word).unwrap();
        source.read(&mut bytes).unwrap();
        let edu = source.finish().unwrap();
        let mut target = DmaEngine::new(edu, &dma, Direction::FromDevice).unwrap();
        let write_only = target.memory().unwrap().iova();
        target.write(&[0; 4]).unwrap();
        let refused: std::vec::Vec<_> = kernel
            .faults()
            .iter()
            .map(|fault| (fault.iova, fault.access, fault.reason))
            .collect();
        assert_eq!(
            refused,
            [
                (read_only, DmaAccess::Write, FaultReason::Forbidden),
                (write_only, DmaAccess::Read, FaultReason::Forbidden),
            ]
        );
        // The faults left the device's buffer as it was.
        target.read(&mut bytes).unwrap();
        assert_eq!(bytes, word);
    }
}

#[test]
fn another_device_is_told_from_edu() {
    let (_kernel, _space, device) = open(model::msix(), Mode::Type1v2);
    let mut buffer = [0; 64];
    let region = device.region(pci_region::BAR0, &mut buffer).unwrap();
    let edu = Edu::new(device.map::<CanReadWrite>(&region, 0).unwrap());
    assert_eq!(edu.err(), Some(EduError::NotEdu { id: 0 }));
}
