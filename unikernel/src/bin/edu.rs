//! The reference driver of `edu`, whole, on the first one that the machine has.
#![no_std]
#![no_main]

use vfio_core::device::region::RegionError;
use vfio_core::dma::DmaError;
use vfio_core::open::container::OpenError;
use vfio_core::open::{Mode, Session, SessionError};
use vfio_core::pci::BringUpError;
use vfio_core::sys::{Errno, NoIommu};
use vfio_drivers::edu::EduError;
use vfio_exercise::edu::{Step, run};
use vfio_exercise::{Outcome, RunError};
use vfio_unikernel::GuestPci;
use vfio_unikernel::boot::Boot;
use vfio_unikernel::pci::NoError;
use vfio_unikernel::shim::DiscoverError;

vfio_unikernel::entry!(main);

/// Vendor and device.
const EDU: (u16, u16) = (0x1234, 0x11e8);

/// Why the driver did not run, or not to its end: the core's errors, without what can't happen
/// here, so that the image need not be able to say it.
#[derive(defmt::Format)]
enum Error {
    /// The machine's devices can't be had.
    Discover(DiscoverError),
    /// There is no `edu`.
    NoDevice,
    /// It can't be opened.
    Open(OpenError),
    /// It does not say what BAR 0 is.
    Region,
    /// Its command register can't be reached.
    Command,
    /// BAR 0 can't be mapped.
    Map(RegionError),
    /// There is no memory for it.
    Memory(Errno),
    /// A step failed.
    Failed,
}

fn main(boot: &Boot) -> Result<(), Error> {
    // SAFETY: the reference driver tells the device the addresses of its own buffers and no
    // others, and is done with the device before they are dropped.
    let machine = GuestPci::new(unsafe { NoIommu::acknowledge() });
    machine.discover(boot).map_err(Error::Discover)?;
    let (group, function) = machine.find(EDU.0, EDU.1).ok_or(Error::NoDevice)?;
    defmt::info!("edu at {}, group {}", function.address, group);
    let mut name = [0; 13];
    let place = machine.place(group, &mut name).ok_or(Error::NoDevice)?;
    let session = Session::open_in(Mode::NoIommu, &machine, &place)?;
    let report = run(machine, session)?;
    for (step, outcome) in &report.steps {
        match outcome {
            Outcome::Passed => defmt::info!("{}: passed", step),
            Outcome::Wrong { expected, got } => {
                defmt::error!("{}: {=u64:#x} in place of {=u64:#x}", step, got, expected);
            }
            Outcome::Device(EduError::Dma(error)) => {
                defmt::error!("{}: no memory: {}", step, errno(error));
            }
            Outcome::Device(error) => device(*step, error),
            Outcome::Memory => defmt::error!("{}: memory can't be reached", step),
            Outcome::Irq(error) => defmt::error!("{}: {}", step, error),
            Outcome::NotRun | Outcome::NotThere | Outcome::Ended | Outcome::Lost(_) => {
                defmt::error!("{}: not run", step);
            }
        }
    }
    if report.passed() {
        Ok(())
    } else {
        Err(Error::Failed)
    }
}

/// Says how the device failed in a step.
fn device(step: Step, error: &EduError<NoError>) {
    defmt::error!("{}: {}", step, error);
}

/// Returns the error number of what went wrong with memory.
fn errno(error: &DmaError) -> Errno {
    // The others are of worlds that map memory.
    error.errno().unwrap_or(Errno::ENOTTY)
}

impl From<SessionError> for Error {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Group(error) => Self::Open(error),
            _ => Self::NoDevice,
        }
    }
}

impl From<RunError> for Error {
    fn from(error: RunError) -> Self {
        match error {
            RunError::BringUp(BringUpError::Map { error, .. }) => Self::Map(error),
            RunError::BringUp(BringUpError::Region { .. }) => Self::Region,
            RunError::BringUp(BringUpError::Command(_)) => Self::Command,
            RunError::Dma(error) => Self::Memory(errno(&error)),
        }
    }
}
