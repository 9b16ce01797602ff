//! The card of the machine: found and opened.

use core::convert::Infallible;

use vfio_core::device::Device;
use vfio_core::device::irq::IrqError;
use vfio_core::device::region::MappedRegion;
use vfio_core::dma::Dma;
use vfio_core::open::container::OpenError;
use vfio_core::open::{Mode, Session, SessionError};
use vfio_core::sys::NoIommu;
use vfio_drivers::virtio::net::{self, Pair};
use vfio_drivers::virtio::{self, PciTransport, VirtioError};
use vfio_unikernel::GuestPci;
use vfio_unikernel::boot::Boot;
use vfio_unikernel::clock::ClockError;
use vfio_unikernel::pci::NoError;
use vfio_unikernel::shim::DiscoverError;

/// The vendor of all virtio devices.
const VIRTIO: u16 = 0x1af4;
/// Network cards: those that keep to version 1 alone, and those that older drivers know as well.
const CARDS: [u16; 2] = [0x1041, 0x1000];

/// Frames of a queue.
const DEPTH: usize = 64;

/// How many buffers and ranges of addresses there can be: without an IOMMU none are counted.
const RANGES: usize = 4;

type Machine = GuestPci;
type Dmas = Dma<Machine, RANGES>;
type Way<'d> = PciTransport<&'d Device<Machine>, &'d Dmas, MappedRegion<&'d Device<Machine>>>;
pub(crate) type Net<'d> = net::Net<Way<'d>, 1, DEPTH>;
pub(crate) type Queues<'n, 'd> = Pair<'n, Way<'d>, DEPTH>;

/// Why the card does not serve: without what can't happen here, so that an image need not be able
/// to say it.
#[derive(defmt::Format)]
pub(crate) enum Error {
    /// The machine's devices can't be had.
    Discover(DiscoverError),
    /// There is no network card.
    NoDevice,
    /// It can't be opened.
    Open(OpenError),
    /// Its address space can't be used.
    Space,
    /// It can't be reached as a virtio device.
    Virtio(virtio::OpenError),
    /// The card failed.
    Card(VirtioError<NoError>),
    /// It can't interrupt.
    Irq(IrqError),
    /// The time can't be told.
    Clock(ClockError),
    /// What the image was told makes no sense.
    CommandLine,
}

/// Opens the first virtio network card that the machine has.
pub(crate) fn open(boot: &Boot) -> Result<(Device<Machine>, Dmas), Error> {
    // SAFETY: the driver tells the device the addresses of its own buffers and no others, and
    // resets the device before they are dropped.
    let machine = GuestPci::new(unsafe { NoIommu::acknowledge() });
    machine.discover(boot).map_err(Error::Discover)?;
    let found = CARDS.iter().find_map(|card| machine.find(VIRTIO, *card));
    let (group, function) = found.ok_or(Error::NoDevice)?;
    defmt::info!("virtio-net at {}, group {}", function.address, group);
    let mut name = [0; 13];
    let place = machine.place(group, &mut name).ok_or(Error::NoDevice)?;
    let session = Session::open_in(Mode::NoIommu, &machine, &place)?;
    let Session { device, space, .. } = session;
    let dma = Dma::new(machine, space).map_err(|_| Error::Space)?;
    Ok((device, dma))
}

/// Finds the card's registers.
pub(crate) fn reach<'d>(device: &'d Device<Machine>, dma: &'d Dmas) -> Result<Way<'d>, Error> {
    PciTransport::open_with(device, dma, MappedRegion::bring_up).map_err(Error::Virtio)
}

impl From<SessionError> for Error {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Group(error) => Self::Open(error),
            _ => Self::NoDevice,
        }
    }
}

impl From<VirtioError<NoError>> for Error {
    fn from(error: VirtioError<NoError>) -> Self {
        Self::Card(error)
    }
}

/// Whether registers that are mapped can't fail, as the type of errors says.
const _: fn(Infallible) -> NoError = |never| match never {};
