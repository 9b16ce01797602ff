//! Every step of the driver of edu, on the simulated one.

use std::ffi::CString;

use vfio_core::dma::Dma;
use vfio_core::mmio::CanReadWrite;
use vfio_core::open::{Mode, Place, Session};
use vfio_core::pci::{Command, Config, DeviceConfig};
use vfio_core::sys::NoIommu;
use vfio_core::wire::abi::pci_region;
use vfio_exercise::Outcome;
use vfio_exercise::edu::{exercise, run};
use vfio_hosted::model;
use vfio_hosted::sim::Kernel;

const NAME: &str = "0000:01:00.0";
const C_NAME: &std::ffi::CStr = c"0000:01:00.0";
const GROUP: u32 = 3;

/// Returns the word for devices of the simulated kernel that no IOMMU confines.
fn acknowledged() -> NoIommu {
    // SAFETY: a simulated device reaches nothing but the pages that the simulated kernel gave
    // out, which are atomic words that it keeps for as long as they are reached.
    unsafe { NoIommu::acknowledge() }
}

/// Returns a kernel with edu, as `mode` needs it, and where edu is.
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
        socket: None,
        token: None,
    }
}

fn assert_nothing_is_left(kernel: &Kernel) {
    assert_eq!(kernel.live_mappings(), 0);
    assert_eq!(kernel.live_dma_mappings(), 0);
    assert_eq!(kernel.live_physical_memory(), 0);
    assert_eq!(kernel.open_events(), 0);
    assert_eq!((kernel.open_files(), kernel.live_containers()), (0, 0));
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
fn edu_passes_every_step_when_trapped() {
    let (kernel, cdev) = with_edu(Mode::Type1v2);
    let session = Session::open_in(Mode::Type1v2, &kernel, &place(cdev.as_ref())).unwrap();
    let Session { device, space, .. } = session;
    let mut config = Config::new(DeviceConfig::ask(&device, &mut [0; 512]).unwrap());
    let mut command = config.command().unwrap();
    command.set(Command::MASTER, true);
    config.set_command(command).unwrap();
    let dma = Dma::<_, 16>::new(kernel.clone(), space).unwrap();
    let mut buffer = [0; 64];
    let region = device.region(pci_region::BAR0, &mut buffer).unwrap();
    let report = exercise(&device, device.trap::<CanReadWrite>(&region).unwrap(), &dma);
    assert!(report.passed(), "{report:?}");
}
