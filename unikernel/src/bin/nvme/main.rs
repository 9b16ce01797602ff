//! The reference driver of NVMe on the first controller that the machine has: what it is, what it
//! keeps, and how fast random reads are.
//!
//! Blocks are written only where the command line has the word `write`: the last 4096 of the first
//! namespace, whose contents are lost.
#![no_std]
#![no_main]

mod integrity;

use vfio_core::device::Device;
use vfio_core::device::irq::IrqError;
use vfio_core::device::region::RegionError;
use vfio_core::dma::Dma;
use vfio_core::open::container::OpenError;
use vfio_core::open::{Mode, Session, SessionError};
use vfio_core::pci::{BringUpError, Class};
use vfio_core::sys::NoIommu;
use vfio_core::wire::abi::{pci_irq, pci_region};
use vfio_drivers::nvme::{Controller, Namespace, NvmeError, Options, QueueOptions, QueuePair};
use vfio_exercise::nvme::{Cost, Places, random_reads};
use vfio_unikernel::GuestPci;
use vfio_unikernel::boot::Boot;
use vfio_unikernel::clock::{self, ClockError};
use vfio_unikernel::pci::NoError;
use vfio_unikernel::shim::DiscoverError;

use integrity::Lost;

vfio_unikernel::entry!(main);

/// Mass storage, non-volatile memory, NVM Express.
const NVME: (u8, u8, u8) = (1, 8, 2);

/// The MSI-X vector of the queue pair that is not polled.
const VECTOR: u16 = 1;

/// Commands that can be under way.
const DEPTH: usize = 32;

/// How many reads are counted at each depth.
const READS: u16 = 4096;

/// How many buffers and ranges of addresses there can be: without an IOMMU none are counted.
const RANGES: usize = 8;

type Machine = GuestPci;
type Opened<'d> = &'d Device<Machine>;
type Drive<'d> = Controller<Opened<'d>, &'d Dma<Machine, RANGES>>;
type Pair<'c, 'd> = QueuePair<&'c Drive<'d>, DEPTH>;
type Failure = NvmeError<NoError>;

/// Why the controller was not driven, or not to the end: without what can't happen here, so that
/// the image need not be able to say it.
#[derive(defmt::Format)]
enum Error {
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
    /// Interrupts can't be had.
    Irq(IrqError),
    /// The time can't be told.
    Clock(ClockError),
    /// A block has not what was written to it.
    Lost(Lost),
}

fn main(boot: &Boot) -> Result<(), Error> {
    // SAFETY: the reference driver tells the device the addresses of its own buffers and no
    // others, and stops the device before they are dropped.
    let machine = GuestPci::new(unsafe { NoIommu::acknowledge() });
    machine.discover(boot).map_err(Error::Discover)?;
    let is_nvme = |class: Class| (class.base, class.sub, class.interface) == NVME;
    let mut functions = machine.functions();
    let (group, function) = functions
        .find(|(_, function)| is_nvme(function.class))
        .ok_or(Error::NoDevice)?;
    defmt::info!("NVMe at {}, group {}", function.address, group);
    let mut name = [0; 13];
    let place = machine.place(group, &mut name).ok_or(Error::NoDevice)?;
    let session = Session::open_in(Mode::NoIommu, &machine, &place)?;
    let Session { device, space, .. } = session;
    let bar0 = device.bring_up(pci_region::BAR0)?;
    let dma = Dma::<_, RANGES>::new(machine, space).map_err(|_| Error::Space)?;
    let mut controller = Controller::start(&device, bar0, &dma, Options::default())?;
    let mut namespace = identify(&controller)?;
    if boot
        .command_line
        .split(|byte| *byte == b' ')
        .any(|word| word == b"write")
    {
        let vectors = device.vectors::<2>(pci_irq::MSIX).map_err(Error::Irq)?;
        let lost = integrity::check(&mut controller, &mut namespace, &vectors)?;
        lost.map_or(Ok(()), |lost| Err(Error::Lost(lost)))?;
    } else {
        defmt::info!("nothing is written: that takes the word write on the command line");
    }
    read(&controller, &namespace)?;
    controller.shut_down()?;
    defmt::info!("shut down");
    Ok(())
}

/// Says what the controller and its first namespace are, and returns that.
fn identify(controller: &Drive<'_>) -> Result<Namespace, Error> {
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
        return Err(Error::NoNamespace);
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

/// What is asked of queue pairs whose slots have room for `len` bytes.
fn options(namespace: &Namespace, len: usize, vector: Option<u16>) -> QueueOptions {
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

/// Reads at random, one at a time and many.
fn read(controller: &Drive<'_>, namespace: &Namespace) -> Result<(), Error> {
    // More than a page where blocks have metadata in line.
    let stride = usize::try_from(namespace.stride()).unwrap_or(0);
    let blocks = usize::try_from(Places::new(namespace).blocks()).unwrap_or(1);
    let len = blocks.saturating_mul(stride);
    let mut pair: Pair<'_, '_> = controller.queue_pair(options(namespace, len, None))?;
    for depth in [1, DEPTH] {
        let start = micros()?;
        let cost = random_reads(&mut pair, namespace, depth, READS, clock::stamp)?;
        say(depth, &cost, micros()?.saturating_sub(start));
    }
    Ok(())
}

/// Microseconds since the processor was started.
fn micros() -> Result<u64, Error> {
    let now = clock::now().map_err(Error::Clock)?;
    Ok(u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
}

/// Says what reads cost, and how many there were a second.
fn say(depth: usize, cost: &Cost, micros: u64) {
    let iops = cost.reads.saturating_mul(1_000_000).checked_div(micros);
    defmt::info!(
        "random reads at depth {=usize}: {=u64}, {=u64} ticks each, {=u64} a second",
        depth,
        cost.reads,
        cost.of_a_read(),
        iops.unwrap_or(0)
    );
}

impl From<SessionError> for Error {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Group(error) => Self::Open(error),
            _ => Self::NoDevice,
        }
    }
}

impl From<BringUpError> for Error {
    fn from(error: BringUpError) -> Self {
        match error {
            BringUpError::Map { error, .. } => Self::Map(error),
            BringUpError::Region { .. } => Self::Region,
            BringUpError::Command(_) => Self::Command,
        }
    }
}

impl From<Failure> for Error {
    fn from(error: Failure) -> Self {
        Self::Nvme(error)
    }
}
