//! The NVMe driver on the simulated kernel: what it does with a controller that works, and with
//! one that fails in each way that there is.

mod admin;
mod cost;
mod exercise;
mod faults;
mod identity;
mod integrity;
mod linux;
mod odd;
mod poll;
mod start;

use std::sync::atomic::AtomicBool;
use std::time::Duration;
use std::vec;
use std::vec::Vec;

use vfio_core::device::Device;
use vfio_core::device::region::Bar;
use vfio_core::dma::Dma;
use vfio_core::mmio::Window;
use vfio_core::open::{Mode, Place, Session};
use vfio_core::wire::abi::pci_region;
use vfio_drivers::nvme::{
    Controller, KEPT, Lent, Namespace, NvmeError, Options, QueueOptions, QueuePair, Report,
    StatusCode, exercise,
};

use super::{C_NAME, GROUP, NAME};
use crate::model::{
    self, Nvme, NvmeControl, NvmeFault, NvmeNamespace, NvmeProtection, NvmeRefusal,
};
use crate::sim::{Kernel, MappingError};

type Error = NvmeError<MappingError>;
type Started<'d> = Controller<&'d Device<Kernel>, &'d Dma<Kernel, 64>>;
type Pair<'c, 'd, const DEPTH: usize> = QueuePair<&'c Started<'d>, DEPTH>;

/// Time limits that a test does not mind to wait for.
const OPTIONS: Options = Options {
    command: Duration::from_millis(50),
    admin: Duration::from_millis(50),
    shadow_doorbells: true,
};

/// An open controller, and what a test holds on to.
struct Opened {
    kernel: Kernel,
    device: Device<Kernel>,
    dma: Dma<Kernel, 64>,
    control: NvmeControl,
}

impl Opened {
    fn new(nvme: Nvme) -> Self {
        Self::in_mode(nvme, Mode::Iommufd)
    }

    fn in_mode(nvme: Nvme, mode: Mode) -> Self {
        let control = nvme.control();
        let kernel = Kernel::new().with_device(NAME, model::nvme_with(nvme), GROUP);
        let cdev = kernel.device_path(NAME);
        let place = Place {
            name: C_NAME,
            group: Some(GROUP),
            cdev: cdev.as_deref(),
            ..Default::default()
        };
        let session = Session::open_in(mode, &kernel, &place).unwrap();
        let dma = Dma::new(kernel.clone(), session.space).unwrap();
        Self {
            kernel,
            device: session.device,
            dma,
            control,
        }
    }

    fn bar0(&self) -> Window<Bar<&Device<Kernel>>> {
        self.device.bring_up(pci_region::BAR0).unwrap()
    }

    fn start(&self) -> Result<Started<'_>, Error> {
        Controller::start(&self.device, self.bar0(), &self.dma, OPTIONS)
    }

    /// Tries every step of the driver.
    fn exercise(&self) -> Report<MappingError> {
        self.exercise_until(&AtomicBool::new(false))
    }

    /// The same, until it is told to end.
    fn exercise_until(&self, ends: &AtomicBool) -> Report<MappingError> {
        let mut kept = vec![0; KEPT];
        let kept = &mut kept[..];
        let lent = Lent { kept, ends };
        exercise(&self.device, self.bar0(), &self.dma, OPTIONS, lent)
    }

    /// Nothing is mapped, and the device reached nothing that was not.
    fn assert_clean(&self) {
        assert_eq!(self.kernel.faults(), []);
        assert_eq!(self.kernel.live_dma_mappings(), 0);
        assert_eq!(self.kernel.live_mappings(), 0);
    }

    /// What the clock says.
    fn now(&self) -> Duration {
        use vfio_core::sys::Sys as _;
        self.kernel.now().unwrap()
    }

    /// Lets the device do what it still does.
    fn let_time_pass(&self) {
        for _ in 0..100 {
            self.now();
        }
    }
}

/// A controller with a namespace of 512-byte blocks and one of 4096-byte blocks.
fn two_namespaces() -> Nvme {
    Nvme::new()
        .with_namespace(NvmeNamespace::of_512(4096))
        .with_namespace(NvmeNamespace::of_4096(512))
}

/// Bytes that differ from block to block, and with the seed.
fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = vec![0; len];
    for chunk in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
    bytes
}

/// The code with which a command failed.
fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> StatusCode {
    match result {
        Err(NvmeError::Command(status)) => status.code(),
        other => panic!("{other:?} is no failed command"),
    }
}

/// Slots of so many bytes.
fn slots(len: usize) -> QueueOptions {
    QueueOptions {
        slot: len,
        ..Default::default()
    }
}

/// Writes and reads back what fits into a namespace, and compares.
fn round_trip<const DEPTH: usize>(pair: &mut Pair<'_, '_, DEPTH>, namespace: &Namespace) {
    let size = usize::try_from(namespace.block_size()).unwrap();
    let data = pattern(7, size * 13);
    pair.write_blocks(namespace, 5, &data).unwrap();
    let mut back = vec![0; data.len()];
    pair.read_blocks(namespace, 5, &mut back).unwrap();
    assert!(back == data);
}
