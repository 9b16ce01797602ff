//! The reference drivers on the simulated kernel, through the client types of the core.

use std::ffi::CString;

use vfio_core::device::Device;
use vfio_core::dma::{AddressSpace, BufferOptions, Direction, Dma, DmaError};
use vfio_core::mmio::{CanReadWrite, Window};
use vfio_core::open::container::OpenError;
use vfio_core::open::iommufd::IommufdError;
use vfio_core::open::{Mode, Place, Session, SessionError};
use vfio_core::pci::{Command, Config, DeviceConfig};
use vfio_core::wire::abi::{pci_irq, pci_region};
use vfio_drivers::edu::{DmaEngine, Edu, EduError, Outcome, exercise, run};

use super::*;
use crate::model::{self, DmaAccess, FaultReason};

/// A kernel with edu, as `mode` needs it, and where edu is.
fn with_edu(mode: Mode) -> (Kernel, Option<CString>) {
    let kernel = Kernel::new();
    let kernel = match mode {
        Mode::NoIommu => kernel.with_noiommu_device(NAME, model::edu(), GROUP),
        _ => kernel.with_device(NAME, model::edu(), GROUP),
    };
    let cdev = kernel.device_path(NAME);
    (kernel, cdev)
}

fn place(cdev: Option<&CString>) -> Place<'_> {
    Place {
        name: C_NAME,
        group: Some(GROUP),
        is_noiommu: cdev.is_none(),
        noiommu: Some(acknowledged()),
        cdev: cdev.map(CString::as_c_str),
        token: None,
    }
}

/// Opens edu, and lets it master the bus.
fn open_edu(mode: Mode) -> (Kernel, AddressSpace<Kernel>, Device<Kernel>) {
    let (kernel, cdev) = with_edu(mode);
    let session = Session::open_in(mode, &kernel, &place(cdev.as_ref())).unwrap();
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
fn edu_passes_every_step_in_every_mode() {
    for mode in Mode::PREFERRED {
        let (kernel, cdev) = with_edu(mode);
        let session = Session::open_in(mode, &kernel, &place(cdev.as_ref())).unwrap();
        let report = run(kernel.clone(), session).unwrap();
        for (step, outcome) in &report.steps {
            assert_eq!(*outcome, Outcome::Passed, "{mode}: {}", step.name());
        }
        assert_eq!(kernel.faults(), []);
        assert_nothing_is_left(&kernel);
    }
}

#[test]
fn the_best_mode_that_the_system_has_is_taken() {
    let with_edu = || Kernel::new().with_device(NAME, model::edu(), GROUP);
    let cdev = with_edu().device_path(NAME);
    let open = |kernel: Kernel, place: &Place<'_>| {
        let opened = Session::open(&kernel, place);
        opened.map(|session| session.mode)
    };
    let by_both = place(cdev.as_ref());
    let by_group = Place {
        cdev: None,
        ..by_both
    };
    assert_eq!(open(with_edu(), &by_both), Ok(Mode::Iommufd));
    assert_eq!(open(with_edu(), &by_group), Ok(Mode::Type1v2));
    // What sysfs says of a device may be older than what is there.
    let without = with_edu().without_iommufd();
    assert_eq!(open(without, &by_both), Ok(Mode::Type1v2));
    let noiommu = Kernel::new().with_noiommu_device(NAME, model::edu(), GROUP);
    assert_eq!(open(noiommu, &place(None)), Ok(Mode::NoIommu));
}

#[test]
fn what_keeps_a_device_from_being_opened_is_told() {
    let kernel = Kernel::new().with_device(NAME, model::edu(), GROUP);
    let nowhere = Session::open(&kernel, &Place::default());
    assert_eq!(nowhere.err(), Some(SessionError::NoCdev));
    let cdev = kernel.device_path(NAME);
    let other = Place {
        group: Some(GROUP + 1),
        cdev: None,
        ..place(cdev.as_ref())
    };
    let missing = OpenError::Group {
        group: GROUP + 1,
        errno: Errno::ENOENT,
    };
    let error = Session::open(&kernel, &other).err();
    assert_eq!(error, Some(SessionError::Group(missing)));
    // A device that is in use is a failure, and no reason to try another way.
    let group = kernel.open(&Kernel::group_path(GROUP)).unwrap();
    let error = Session::open(&kernel, &place(cdev.as_ref())).err();
    let busy = SessionError::Iommufd(IommufdError::Bind(Errno::EBUSY));
    assert_eq!(error, Some(busy));
    drop(group);
    assert_nothing_is_left(&kernel);
}

#[test]
fn without_an_iommu_nothing_is_mapped() {
    let (kernel, space, _device) = open_edu(Mode::NoIommu);
    assert_eq!(space.unmap_all(), Err(Errno::ENOTTY));
    let dma = Dma::<_, 16>::new(kernel.clone(), space).unwrap();
    let first = dma.buffer(1, Direction::Both).unwrap();
    let second = dma.buffer(5000, Direction::Both).unwrap();
    assert!(second.iova() >= first.iova() + 4096);
    assert_eq!((second.len(), kernel.live_physical_memory()), (8192, 2));
    let too_high = dma.buffer(1, BufferOptions::new(Direction::Both).up_to(0xfff));
    assert_eq!(too_high.err(), Some(DmaError::Physical(Errno::ERANGE)));
    first.unmap().unwrap();
    drop(second);
    assert_eq!(kernel.live_physical_memory(), 0);
}

fn assert_nothing_is_left(kernel: &Kernel) {
    assert_eq!(kernel.live_mappings(), 0);
    assert_eq!(kernel.live_dma_mappings(), 0);
    assert_eq!(kernel.live_physical_memory(), 0);
    assert_eq!(kernel.open_events(), 0);
    assert_eq!((kernel.open_files(), kernel.live_containers()), (0, 0));
}

#[test]
fn edu_passes_every_step_when_trapped() {
    let (kernel, space, device) = open_edu(Mode::Type1v2);
    let dma = Dma::<_, 16>::new(kernel.clone(), space).unwrap();
    let mut buffer = [0; 64];
    let region = device.region(pci_region::BAR0, &mut buffer).unwrap();
    let report = exercise(&device, device.trap::<CanReadWrite>(&region).unwrap(), &dma);
    assert!(report.passed(), "{report:?}");
}

#[test]
fn edu_interrupts_through_its_pin() {
    let (_kernel, _space, device) = open_edu(Mode::Type1v2);
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
    let (kernel, space, device) = open_edu(Mode::Iommufd);
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
        let (kernel, space, device) = open_edu(mode);
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
fn an_interrupt_that_is_not_waited_for_by_the_one_who_started_it_arrives() {
    let (_kernel, _space, device) = open_edu(Mode::Iommufd);
    let mut buffer = [0; 64];
    let region = device.region(pci_region::BAR0, &mut buffer).unwrap();
    let vectors = device.vectors::<1>(pci_irq::MSI).unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| vectors.wait(0, std::time::Duration::from_secs(20)));
        let mut bar0 = device.map::<CanReadWrite>(&region, 0).unwrap();
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
    let place = place(None);
    let place = Place {
        is_noiommu: false,
        ..place
    };
    let device = Session::open(&kernel, &place).unwrap().device;
    let mut buffer = [0; 64];
    let region = device.region(pci_region::BAR0, &mut buffer).unwrap();
    let edu = Edu::new(device.map::<CanReadWrite>(&region, 0).unwrap());
    assert_eq!(edu.err(), Some(EduError::NotEdu { id: 0 }));
}
