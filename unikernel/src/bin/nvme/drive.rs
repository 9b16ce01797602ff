//! An NVMe controller in an image: found, started and named.

use vfio_core::device::Device;
use vfio_core::device::region::RegionError;
use vfio_core::dma::Dma;
use vfio_core::open::container::OpenError;
use vfio_core::open::{Mode, Session, SessionError};
use vfio_core::pci::{BringUpError, Class};
use vfio_core::sys::NoIommu;
use vfio_core::wire::abi::pci_region;
use vfio_drivers::nvme::{Controller, Namespace, NvmeError, Options, QueueOptions, QueuePair};
use vfio_unikernel::GuestPci;
use vfio_unikernel::boot::Boot;
use vfio_unikernel::pci::NoError;
use vfio_unikernel::shim::DiscoverError;

/// Mass storage, non-volatile memory, NVM Express.
const NVME: (u8, u8, u8) = (1, 8, 2);

/// Commands that can be under way.
pub(crate) const DEPTH: usize = 32;

/// How many buffers and ranges of addresses there can be: without an IOMMU none are counted.
const RANGES: usize = 8;

pub(crate) type Machine = GuestPci;
pub(crate) type Opened<'d> = &'d Device<Machine>;
pub(crate) type Drive<'d> = Controller<Opened<'d>, &'d Dma<Machine, RANGES>>;
pub(crate) type Pair<'c, 'd> = QueuePair<&'c Drive<'d>, DEPTH>;
pub(crate) type Failure = NvmeError<NoError>;

/// Why the controller was not driven: without what can't happen here, so that an image need not be
/// able to say it.
#[derive(defmt::Format)]
pub(crate) enum DriveError {
    /// The machine's devices can't be had.
    Discover(DiscoverError),
    /// There is no NVMe controller.
    NoDevice,
    /// It can't be opened.
    Open(OpenError),
    /// It does not say what BAR 0 is.
    Region,
    /// Its command register can't be reached.
    Command,
    /// BAR 0 can't be mapped.
    Map(RegionError),
    /// Its address space can't be used.
    Space,
    /// It has no namespace.
    NoNamespace,
    /// The driver failed.
    Nvme(Failure),
}

/// Starts the machine's first NVMe controller, lets `work` use it and its first namespace, and
/// shuts it down.
pub(crate) fn drive<E: From<DriveError>>(
    boot: &Boot,
    work: impl FnOnce(Opened<'_>, &mut Drive<'_>, Namespace) -> Result<(), E>,
) -> Result<(), E> {
    // SAFETY: the reference driver tells the device the addresses of its own buffers and no
    // others, and stops the device before they are dropped.
    let machine = GuestPci::new(unsafe { NoIommu::acknowledge() });
    let (device, dma) = open(machine, boot)?;
    let bar0 = device
        .bring_up(pci_region::BAR0)
        .map_err(DriveError::from)?;
    let mut controller =
        Controller::start(&device, bar0, &dma, Options::default()).map_err(DriveError::Nvme)?;
    let namespace = identify(&controller)?;
    work(&device, &mut controller, namespace)?;
    controller.shut_down().map_err(DriveError::Nvme)?;
    defmt::info!("shut down");
    Ok(())
}

/// Opens the first NVMe controller.
fn open(
    machine: Machine,
    boot: &Boot,
) -> Result<(Device<Machine>, Dma<Machine, RANGES>), DriveError> {
    machine.discover(boot).map_err(DriveError::Discover)?;
    let is_nvme = |class: Class| (class.base, class.sub, class.interface) == NVME;
    let mut functions = machine.functions();
    let (group, function) = functions
        .find(|(_, function)| is_nvme(function.class))
        .ok_or(DriveError::NoDevice)?;
    defmt::info!("NVMe at {}, group {}", function.address, group);
    let mut name = [0; 13];
    let place = machine.place(group, &mut name);
    let place = place.ok_or(DriveError::NoDevice)?;
    let session = Session::open_in(Mode::NoIommu, &machine, &place)?;
    let Session { device, space, .. } = session;
    let dma = Dma::new(machine, space).map_err(|_| DriveError::Space)?;
    Ok((device, dma))
}

/// Says what the controller and its first namespace are, and returns that.
fn identify(controller: &Drive<'_>) -> Result<Namespace, DriveError> {
    let info = controller.info();
    defmt::info!(
        "model {=[u8]:a}, serial {=[u8]:a}, {=u16} queue pairs, shadow doorbells: {=bool}",
        info.model.bytes(),
        info.serial.bytes(),
        controller.queues(),
        controller.uses_shadow_doorbells()
    );
    let mut ids = [0];
    if controller.namespace_ids(0, &mut ids)? == 0 {
        return Err(DriveError::NoNamespace);
    }
    let [id] = ids;
    let namespace = controller.namespace(id)?;
    defmt::info!(
        "namespace {=u32}: {=u64} blocks of {=u32} bytes",
        id,
        namespace.blocks(),
        namespace.block_size()
    );
    Ok(namespace)
}

/// Returns the options of queue pairs whose slots have room for `len` bytes.
pub(crate) fn options(namespace: &Namespace, len: usize, vector: Option<u16>) -> QueueOptions {
    let stride = usize::try_from(namespace.stride()).unwrap_or(usize::MAX);
    let slot = len.max(stride).next_multiple_of(4096);
    QueueOptions {
        slot,
        metadata: slot
            .checked_div(stride)
            .unwrap_or(0)
            .saturating_mul(usize::try_from(namespace.separate_metadata()).unwrap_or(0)),
        vector,
    }
}

impl From<SessionError> for DriveError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Group(error) => Self::Open(error),
            _ => Self::NoDevice,
        }
    }
}

impl From<BringUpError> for DriveError {
    fn from(error: BringUpError) -> Self {
        match error {
            BringUpError::Map { error, .. } => Self::Map(error),
            BringUpError::Region { .. } => Self::Region,
            BringUpError::Command(_) => Self::Command,
        }
    }
}

impl From<Failure> for DriveError {
    fn from(error: Failure) -> Self {
        Self::Nvme(error)
    }
}
