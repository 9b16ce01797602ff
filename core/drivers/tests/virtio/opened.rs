//! Devices of the simulated kernel, opened.

use std::time::Duration;

use vfio_core::device::Device;
use vfio_core::device::region::WholeError;
use vfio_core::dma::Dma;
use vfio_core::open::{Mode, Place, Session};
use vfio_core::sys::Sys as _;
use vfio_drivers::virtio::{PciTransport, VirtioError, blk, net};
use vfio_hosted::model::{self, Model, VirtioBlk, VirtioNet};
use vfio_hosted::sim::{Kernel, MappingError};

const NAME: &str = "0000:01:00.0";
const C_NAME: &std::ffi::CStr = c"0000:01:00.0";
const GROUP: u32 = 3;

pub(crate) type Error = VirtioError<WholeError<MappingError>>;
pub(crate) type Transport<'o> = PciTransport<&'o Device<Kernel>, &'o Dma<Kernel, 64>>;
pub(crate) type Net<'o, const PAIRS: usize, const DEPTH: usize> =
    net::Net<Transport<'o>, PAIRS, DEPTH>;
pub(crate) type Blk<'o> = blk::Blk<Transport<'o>, 64>;

/// An open device.
pub(crate) struct Opened {
    pub(crate) kernel: Kernel,
    pub(crate) device: Device<Kernel>,
    pub(crate) dma: Dma<Kernel, 64>,
}

impl Opened {
    pub(crate) fn new(model: Model) -> Self {
        Self::in_mode(model, Mode::Iommufd)
    }

    pub(crate) fn in_mode(model: Model, mode: Mode) -> Self {
        let kernel = Kernel::new().with_device(NAME, model, GROUP);
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
        }
    }

    pub(crate) fn net(net: VirtioNet) -> Self {
        Self::new(model::virtio_net_with(net))
    }

    pub(crate) fn blk(blk: VirtioBlk) -> Self {
        Self::new(model::virtio_blk_with(blk))
    }

    pub(crate) fn transport(&self) -> Transport<'_> {
        PciTransport::open(&self.device, &self.dma).unwrap()
    }

    /// Starts a card with one pair of queues of 8 frames.
    pub(crate) fn start(&self) -> Result<Net<'_, 1, 8>, Error> {
        net::Net::start(self.transport(), NET)
    }

    /// Starts a disk.
    pub(crate) fn start_disk(&self) -> Result<Blk<'_>, Error> {
        blk::Blk::start(self.transport(), disk())
    }

    /// Checks that nothing is mapped, and that the device reached nothing that was not.
    pub(crate) fn assert_clean(&self) {
        self.let_time_pass();
        assert_eq!(self.kernel.faults(), []);
        assert_eq!(self.kernel.live_dma_mappings(), 0);
        assert_eq!(self.kernel.live_mappings(), 0);
    }

    /// Lets the device do what it does of its own accord.
    pub(crate) fn let_time_pass(&self) {
        for _ in 0..20 {
            self.kernel.now().unwrap();
        }
    }
}

/// Time limits that a test does not mind to wait for.
pub(crate) const NET: net::Options = net::Options {
    vector: None,
    config_vector: None,
    without: vfio_drivers::virtio::Features(0),
    command: Duration::from_millis(50),
};

/// Returns options with small requests, so that a transfer takes several.
pub(crate) fn disk() -> blk::Options {
    blk::Options {
        slot: 4096,
        requests: 4,
        request: Duration::from_millis(50),
        ..Default::default()
    }
}

/// Returns a frame of `len` bytes that is not like others.
pub(crate) fn frame(seed: u64, len: usize) -> Vec<u8> {
    let mut frame = pattern(seed, len);
    // Local experiments (IEEE 802).
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    frame
}

/// Bytes that differ with the seed.
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
