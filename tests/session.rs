//! Whole sessions with a device: open, ask, map, DMA, interrupts, features, reset, close. They
//! are the same on a simulated kernel and on a real one.

use core::error::Error;
use core::fmt;

use vfio_core::abi::{DeviceFlags, FeatureId, pci_irq, pci_region};
use vfio_core::device::Device;
use vfio_core::dma::{AddressSpace, Direction, Dma};
use vfio_core::mmio::{Access, ReadWrite, Window};
use vfio_core::pci::{Command, Config, DeviceConfig};
use vfio_core::session::{Mode, Place, Session};
use vfio_core::sys::{Errno, Sys};
use vfio_drivers::edu::Edu;

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

/// What is written for the device.
const WORD: u64 = 0x0123_4567_89ab_cdef;

/// Opens `edu`, has it do all that it can, and closes it.
///
/// # Errors
/// What a call returns, and [`Differs`] where the device does not do what it should.
pub fn edu<S: Sys + Clone>(sys: &S, place: &Place<'_>, mode: Mode, reach: Reach) -> Ended {
    let Session { device, space, .. } = Session::open_in(mode, sys, place)?;
    let mut buffer = [0; 1024];
    let inventory = device.inventory::<16, 8, 16, _>(&mut buffer)?;
    let bars = inventory.regions().iter().flatten();
    let bars = bars.filter(|region| region.size == 1 << 20).count();
    same("BARs of 1 MiB", 1, bars)?;
    let vectors = inventory.irqs().get(1).copied().flatten();
    same("MSIs", 1, vectors.map_or(0, |irq| irq.count))?;
    for feature in [FeatureId::MIGRATION, FeatureId::LOW_POWER_ENTRY] {
        device.probe_feature(feature)?;
    }

    let dma = Dma::<_, 16>::new(sys.clone(), space)?;
    drive(&device, &dma, reach)?;
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
        Reach::Mapped => work(device, device.map::<ReadWrite>(&region, 0)?, dma)?,
        Reach::Trapped => work(device, device.trap::<ReadWrite>(&region)?, dma)?,
    }
    Ok(config.set_command(command)?)
}

/// What the device can do.
fn work<S: Sys, A: Access, const N: usize>(
    device: &Device<S>,
    bar0: Window<A>,
    dma: &Dma<S, N>,
) -> Ended {
    let mut edu = Edu::new(bar0)?;
    same("major version", 1, edu.version()?.0)?;
    same("liveness", 1, u8::from(edu.is_alive(0x5a5a_5a5a)?))?;
    same("factorial", 120, edu.factorial(5)?)?;

    let mut source = Edu::<A>::memory(dma, Direction::ToDevice)?;
    let mut target = Edu::<A>::memory(dma, Direction::FromDevice)?;
    source.window().write(0, WORD)?;
    edu.copy_to_device(&source, COPIED)?;
    edu.copy_to_memory(&mut target, COPIED)?;
    same("what came back", WORD, target.window().read::<u64>(0)?)?;

    let vectors = device.vectors::<1>(pci_irq::MSI)?;
    edu.raise(1, &vectors)?;
    target.window().write(0, 0_u64)?;
    edu.copy_to_memory_by_interrupt(&mut target, COPIED, &vectors)?;
    same("what came back", WORD, target.window().read::<u64>(0)?)?;
    drop(vectors);
    source.unmap()?;
    // The other one is unmapped as it goes.
    drop(target);
    Ok(())
}

/// The error number at the root of an error.
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

/// A value must be another.
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
