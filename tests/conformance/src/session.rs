//! Whole sessions with a device: open, ask, map, DMA, interrupts, features, reset, close. They
//! are the same on a simulated kernel and on a real one.

use core::error::Error;
use core::fmt;
use core::time::Duration;

use vfio_core::device::Device;
use vfio_core::device::irq::{Action, Data};
use vfio_core::dma::{Direction, Dma};
use vfio_core::mmio::{Access, CanReadWrite, Window};
use vfio_core::open::AddressSpace;
use vfio_core::open::{Mode, Place, Session};
use vfio_core::pci::{Command, Config, DeviceConfig};
use vfio_core::sys::{Errno, Sys};
use vfio_core::wire::abi::{DeviceFlags, FeatureId, MigState, pci_irq, pci_region};
use vfio_drivers::edu::{DmaEngine, Edu};

use crate::everything::Everything;

/// How a session ends.
pub type Ended = Result<(), Box<dyn Error>>;

/// How registers are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Through a mapping.
    Mapped,
    /// Through system calls.
    Trapped,
}

/// A value that is not the one that it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Differs {
    /// Of what.
    pub what: &'static str,
    /// What it should be.
    pub expected: u64,
    /// What it is.
    pub got: u64,
}

/// Bytes that are copied to the device and back.
const COPIED: usize = 64;

/// A register of `edu` that keeps what is written to it, inverted.
const LIVENESS: u64 = 4;

/// The scratch register of a UART.
const SCRATCH: usize = 7;

/// How long an interrupt may take that the kernel is told to trigger.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is written for the device.
const WORD: u64 = 0x0123_4567_89ab_cdef;

/// Opens `edu`, has it do all that it can, and closes it.
///
/// # Errors
/// What a call returns, and [`Differs`] where the device does not do what it should.
pub fn edu<S: Sys + Clone>(sys: &S, place: &Place<'_>, mode: Mode, reach: Reach) -> Ended {
    let Session { device, space, .. } = Session::open_in(mode, sys, place)?;
    let mut buffer = [0; 1024];
    let everything = Everything::ask(&device)?;
    let bars = everything.regions.iter().flatten();
    let bars = bars.filter(|size| **size == 1 << 20).count();
    same("BARs of 1 MiB", 1, bars)?;
    same("MSIs", 1, everything.irq_count(pci_irq::MSI))?;
    for feature in [FeatureId::MIGRATION, FeatureId::LOW_POWER_ENTRY] {
        device.probe_feature(feature)?;
    }

    let dma = Dma::<_, 16>::new(sys.clone(), space)?;
    drive(&device, &dma, reach)?;
    device.enter_low_power()?;
    device.exit_low_power()?;
    let event = sys.event()?;
    let region = device.region(pci_region::BAR0, &mut buffer)?;
    device
        .ioeventfd(&region, LIVENESS, 0_u32, &event)?
        .remove()?;
    if device.info(&mut buffer)?.flags.contains(DeviceFlags::RESET) {
        device.reset()?;
    }
    if matches!(dma.space(), AddressSpace::NoIommu(_)) {
        return Ok(());
    }
    match dma.space().unmap_all() {
        // iommufd has nothing left to unmap.
        Ok(0) | Err(Errno::ENOENT) => Ok(()),
        Ok(left) => same("bytes left mapped", 0, left),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens two devices of the kind `mtty`, and has the first become the second.
///
/// # Errors
/// As [`edu`].
pub fn migrate<S: Sys + Clone>(sys: &S, from: &Place<'_>, to: &Place<'_>, mode: Mode) -> Ended {
    let source = Session::open_in(mode, sys, from)?.device;
    let target = Session::open_in(mode, sys, to)?.device;
    let mut buffer = [0; 128];
    let region = source.region(0, &mut buffer)?;
    source
        .trap::<CanReadWrite>(&region)?
        .write(SCRATCH, 0x5a_u8)?;
    source.migration()?;
    let none = || Differs {
        what: "data",
        expected: 1,
        got: 0,
    };
    let mut data = source.set_migration_state(MigState::PRE_COPY)?;
    let data = data.as_mut().ok_or_else(none)?;
    let initial = data.precopy()?.initial_bytes;
    source.set_migration_state(MigState::STOP_COPY)?;
    let len = source.stop_copy_len()?;
    same("initial data", 1, u8::from(initial > 0 && initial < len))?;
    let mut resumed = target.set_migration_state(MigState::RESUMING)?;
    let resumed = resumed.as_mut().ok_or_else(none)?;
    let mut moved = 0_u64;
    let mut part = [0; 7];
    loop {
        let count = data.read(&mut part)?;
        if count == 0 {
            break;
        }
        moved = moved.saturating_add(u64::try_from(count)?);
        resumed.write_all(part.get(..count).unwrap_or_default())?;
    }
    same("data", len, moved)?;
    source.set_migration_state(MigState::STOP)?;
    target.set_migration_state(MigState::RUNNING)?;
    same("state", 2, target.migration_state()?.0)?;
    let region = target.region(0, &mut buffer)?;
    let scratch: u8 = target.trap::<CanReadWrite>(&region)?.read(SCRATCH)?;
    same("scratch register", 0x5a, scratch)?;
    source.reset()?;
    Ok(target.reset()?)
}

/// Opens `edu`, does with it what takes it no time, and closes it.
///
/// # Errors
/// As [`edu`].
pub fn round<S: Sys + Clone>(sys: &S, place: &Place<'_>, mode: Mode) -> Ended {
    let Session { device, space, .. } = Session::open_in(mode, sys, place)?;
    Everything::ask(&device)?;
    let mut edu = Edu::new(device.bring_up(pci_region::BAR0)?)?;
    same("liveness", 1, u8::from(edu.is_alive(0x5a5a_5a5a)?))?;
    let dma = Dma::<_, 16>::new(sys.clone(), space)?;
    let mut memory = dma.buffer(8192, Direction::Both)?;
    memory.window().write(0, WORD)?;
    let vectors = device.vectors::<1>(pci_irq::MSI)?;
    edu.raise(1, &vectors)?;
    Ok(())
}

/// Does with any PCI device what takes no knowledge of it: asks about everything, gives it
/// memory, and has the kernel trigger its first message.
///
/// # Errors
/// As [`edu`].
pub fn any<S: Sys, const N: usize>(device: &Device<S>, dma: &Dma<S, N>) -> Ended {
    let mut buffer = [0; 1024];
    let everything = Everything::ask(device)?;
    let config = Config::new(DeviceConfig::ask(device, &mut buffer)?);
    config.id()?;
    let mut memory = dma.buffer(8192, Direction::Both)?;
    memory.window().write(0, WORD)?;
    same("memory", WORD, memory.window().read::<u64>(0)?)?;
    for index in [pci_irq::MSI, pci_irq::MSIX] {
        if everything.irq_count(index) > 0 {
            let vectors = device.vectors::<1>(index)?;
            device.set_irqs(index, 0, Action::Trigger, &Data::All(1), &mut [0; 20])?;
            same("interrupts", 1, vectors.wait(0, PATIENCE)?)?;
        }
    }
    Ok(memory.unmap()?)
}

/// Has an open `edu` do all that it can.
///
/// # Errors
/// As [`edu`].
pub fn drive<S: Sys, const N: usize>(device: &Device<S>, dma: &Dma<S, N>, reach: Reach) -> Ended {
    let mut buffer = [0; 64];
    let mut config = Config::new(DeviceConfig::ask(device, &mut buffer)?);
    same("device id", 0x11e8, config.id()?.device)?;
    let command = config.command()?;
    let needed = command | Command::MASTER | Command::MEMORY;
    config.set_command(needed)?;
    same("command", needed.bits().into(), config.command()?.bits())?;
    let region = device.region(pci_region::BAR0, &mut buffer)?;
    match reach {
        Reach::Mapped => work(device, device.map::<CanReadWrite>(&region, 0)?, dma)?,
        Reach::Trapped => work(device, device.trap::<CanReadWrite>(&region)?, dma)?,
    }
    Ok(config.set_command(command)?)
}

/// Does what the device can do.
fn work<S: Sys, A: Access, const N: usize>(
    device: &Device<S>,
    bar0: Window<A>,
    dma: &Dma<S, N>,
) -> Ended {
    let mut edu = Edu::new(bar0)?;
    same("major version", 1, edu.version()?.0)?;
    same("liveness", 1, u8::from(edu.is_alive(0x5a5a_5a5a)?))?;
    same("factorial", 120, edu.factorial(5)?)?;

    let mut bytes = [0; COPIED];
    bytes[..8].copy_from_slice(&WORD.to_le_bytes());
    let mut engine = DmaEngine::new(edu, dma, Direction::ToDevice)?;
    engine.write(&bytes)?;
    let mut engine = DmaEngine::new(engine.finish()?, dma, Direction::FromDevice)?;
    engine.read(&mut bytes)?;
    same("what came back", WORD, word(&bytes))?;

    let vectors = device.vectors::<1>(pci_irq::MSI)?;
    engine.edu()?.raise(1, &vectors)?;
    bytes.fill(0);
    Window::new(engine.memory()?).write(0, 0_u64)?;
    engine.read_by_interrupt(&mut bytes, &vectors)?;
    same("what came back", WORD, word(&bytes))?;
    drop(vectors);
    // Its memory is unmapped as it goes.
    drop(engine);
    Ok(())
}

/// Returns the first word of what was copied.
fn word(bytes: &[u8; COPIED]) -> u64 {
    bytes
        .first_chunk()
        .map_or(0, |word| u64::from_le_bytes(*word))
}

/// Returns the error number at the root of an error.
#[must_use]
pub fn errno(error: &(dyn Error + 'static)) -> Option<Errno> {
    let mut error = Some(error);
    while let Some(at) = error {
        if let Some(errno) = at.downcast_ref::<Errno>() {
            return Some(*errno);
        }
        error = at.source();
    }
    None
}

/// Checks that a value is the expected one.
fn same<T>(what: &'static str, expected: u64, got: T) -> Ended
where
    T: TryInto<u64>,
{
    let got = got.try_into().unwrap_or(u64::MAX);
    if expected == got {
        Ok(())
    } else {
        let differs = Differs {
            what,
            expected,
            got,
        };
        Err(differs.into())
    }
}

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            expected,
            got,
        } = self;
        write!(f, "{what}: {got:#x}, not {expected:#x}")
    }
}

impl Error for Differs {}
