//! Opening a device in each mode, through the client types of the core.

use std::ffi::CString;

use vfio_core::dma::{BufferOptions, Direction, Dma, DmaError};
use vfio_core::open::container::OpenError;
use vfio_core::open::iommufd::IommufdError;
use vfio_core::open::{Mode, Place, Session, SessionError};
use vfio_core::wire::abi::{pci_irq, pci_region};

use super::*;
use crate::model;

fn place(cdev: Option<&CString>) -> Place<'_> {
    Place {
        name: C_NAME,
        group: Some(GROUP),
        is_noiommu: cdev.is_none(),
        noiommu: Some(acknowledged()),
        cdev: cdev.map(CString::as_c_str),
        socket: None,
        token: None,
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
    let kernel = Kernel::new().with_noiommu_device(NAME, model::edu(), GROUP);
    let session = Session::open_in(Mode::NoIommu, &kernel, &place(None)).unwrap();
    let space = session.space;
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
fn an_interrupt_that_is_not_waited_for_by_the_one_who_started_it_arrives() {
    let kernel = Kernel::new().with_device(NAME, model::edu(), GROUP);
    let cdev = kernel.device_path(NAME);
    let session = Session::open_in(Mode::Iommufd, &kernel, &place(cdev.as_ref())).unwrap();
    let device = session.device;
    let mut bar0 = device.bring_up(pci_region::BAR0).unwrap();
    let vectors = device.vectors::<1>(pci_irq::MSI).unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| vectors.wait(0, std::time::Duration::from_secs(20)));
        bar0.write::<u32>(0x20, 0x80).unwrap();
        bar0.write::<u32>(0x08, 5).unwrap();
        assert_eq!(waits.join().unwrap(), Ok(1));
        assert_eq!(bar0.read::<u32>(0x08), Ok(120));
    });
    let none = vectors.wait(0, std::time::Duration::from_millis(5));
    assert_eq!(none, Ok(0));
}
