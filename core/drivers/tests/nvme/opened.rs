//! A controller of the simulated kernel, opened.

use std::time::Duration;

use vfio_core::device::Device;
use vfio_core::device::region::MappedRegion;
use vfio_core::dma::Dma;
use vfio_core::mmio::Window;
use vfio_core::open::{Mode, Place, Session};
use vfio_core::sys::Sys as _;
use vfio_core::wire::abi::pci_region;
use vfio_drivers::nvme::{Controller, Namespace, NvmeError, Options, QueuePair};
use vfio_hosted::model::{self, Nvme, NvmeControl, NvmeNamespace};
use vfio_hosted::sim::{Kernel, MappingError};

const NAME: &str = "0000:01:00.0";
const C_NAME: &std::ffi::CStr = c"0000:01:00.0";
const GROUP: u32 = 3;

pub(crate) type Error = NvmeError<MappingError>;
pub(crate) type Started<'d> = Controller<&'d Device<Kernel>, &'d Dma<Kernel, 64>>;
pub(crate) type Pair<'c, 'd, const DEPTH: usize> = QueuePair<&'c Started<'d>, DEPTH>;

/// Time limits that a test does not mind to wait for.
pub(crate) const OPTIONS: Options = Options {
    command: Duration::from_millis(50),
    admin: Duration::from_millis(50),
    shadow_doorbells: true,
};

/// An open controller, and what a test holds on to.
pub(crate) struct Opened {
    pub(crate) kernel: Kernel,
    pub(crate) device: Device<Kernel>,
    pub(crate) dma: Dma<Kernel, 64>,
    pub(crate) control: NvmeControl,
}

impl Opened {
    pub(crate) fn new(nvme: Nvme) -> Self {
        Self::in_mode(nvme, Mode::Iommufd)
    }

    pub(crate) fn in_mode(nvme: Nvme, mode: Mode) -> Self {
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

    pub(crate) fn bar0(&self) -> Window<MappedRegion<&Device<Kernel>>> {
        self.device.bring_up(pci_region::BAR0).unwrap()
    }

    pub(crate) fn start(&self) -> Result<Started<'_>, Error> {
        Controller::start(&self.device, self.bar0(), &self.dma, OPTIONS)
    }

    /// Checks that nothing is mapped, and that the device reached nothing that was not.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.kernel.faults(), []);
        assert_eq!(self.kernel.live_dma_mappings(), 0);
        assert_eq!(self.kernel.live_mappings(), 0);
    }

    /// Returns the time of the clock.
    pub(crate) fn now(&self) -> Duration {
        self.kernel.now().unwrap()
    }

    /// Lets the device do what it still does.
    pub(crate) fn let_time_pass(&self) {
        for _ in 0..100 {
            self.now();
        }
    }
}

/// Returns a controller with a namespace of 512-byte blocks and one of 4096-byte blocks.
pub(crate) fn two_namespaces() -> Nvme {
    Nvme::new()
        .with_namespace(NvmeNamespace::of_512(4096))
        .with_namespace(NvmeNamespace::of_4096(512))
}

/// Bytes that differ from block to block, and with the seed.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
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

/// Writes and reads back what fits into a namespace, and compares.
pub(crate) fn round_trip<const DEPTH: usize>(
    pair: &mut Pair<'_, '_, DEPTH>,
    namespace: &Namespace,
) {
    let size = usize::try_from(namespace.block_size()).unwrap();
    let data = pattern(7, size * 13);
    pair.write_blocks(namespace, 5, &data).unwrap();
    let mut back = vec![0; data.len()];
    pair.read_blocks(namespace, 5, &mut back).unwrap();
    assert!(back == data);
}
