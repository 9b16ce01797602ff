//! A driver that copies memory by its device and has it interrupt (`vfio_pci_driver_test`): igb.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use vfio_core::device::Device as Opened;
use vfio_core::device::irq::Vectors;
use vfio_core::device::region::MappedRegion;
use vfio_core::dma::{Direction, Dma};
use vfio_core::mmio::Window;
use vfio_core::sys::Errno;
use vfio_core::wire::abi::{pci_irq, pci_region};
use vfio_drivers::igb::{Copied, FRAME_LEAST, FRAME_MOST, Igb, IgbError, Ring};
use vfio_guest::Device;
use vfio_hosted::linux::Linux;

use super::{PAGE, ranges};
use crate::mode::{InGuest as _, Mode};
use crate::world::World;

/// How many buffers and ranges of addresses there can be.
const STRETCHES: usize = 64;

/// How often the device is initialised, and how often everything is done in turn.
const TIMES: usize = 10;

/// Bytes of a copy: several frames.
const SIZE: usize = 4 * FRAME_MOST;

/// Bytes of a long copy: more than the rings hold at once.
const LONG: usize = 1 << 20;

/// The longest that an interrupt may take.
const SOON: Duration = Duration::from_secs(5);

/// Bytes before the end of the address space where nothing is ever mapped.
const UNMAPPED: u64 = 1 << 30;

type Space = Dma<Linux, STRETCHES>;
type Card<'d> = Igb<MappedRegion<&'d Opened<Linux>>, &'d Space>;

/// The device with its driver, and memory to copy.
struct Driven<'d> {
    card: Card<'d>,
    opened: &'d Opened<Linux>,
    dma: &'d Space,
    vectors: Vectors<&'d Opened<Linux>, 1>,
    /// An address where nothing is mapped.
    nowhere: u64,
}

/// Checks that the driver is removed and initialised again.
pub(crate) fn init_remove(_: &World, device: &Device, mode: Mode) -> Result<String> {
    driven(device, mode, |mut driven| {
        for round in 0..TIMES {
            driven = driven
                .reinitialised()
                .with_context(|| format!("round {round}"))?;
        }
        driven.copies(SIZE)?;
        Ok(format!("{TIMES} times"))
    })
}

/// Checks that what is copied is the same, whatever its length, and that no interrupt comes.
pub(crate) fn copy(_: &World, device: &Device, mode: Mode) -> Result<String> {
    driven(device, mode, |mut driven| {
        // No frame lies across two pages: QEMU's card sends it only where these are one after the
        // other in the guest's memory.
        for len in [
            SIZE,
            FRAME_LEAST,
            FRAME_MOST,
            FRAME_MOST + 1,
            2 * FRAME_MOST + FRAME_LEAST - 1,
            LONG,
        ] {
            driven.copies(len).with_context(|| format!("{len} bytes"))?;
        }
        Ok(format!("up to {LONG} bytes"))
    })
}

/// Checks that a read that the IOMMU refuses harms nobody.
pub(crate) fn copy_from_nowhere(_: &World, device: &Device, mode: Mode) -> Result<String> {
    driven(device, mode, |mut driven| {
        let seen = driven.copies_from_nowhere()?;
        driven.copies(SIZE).context("afterwards")?;
        driven = driven.reinitialised()?;
        driven.copies(SIZE).context("initialised again")?;
        Ok(seen)
    })
}

/// Checks that a write that the IOMMU refuses harms nobody.
pub(crate) fn copy_to_nowhere(_: &World, device: &Device, mode: Mode) -> Result<String> {
    driven(device, mode, |mut driven| {
        let source = &driven.card.memory()?.source;
        let from = source.iova();
        // SAFETY: an IOMMU confines the device.
        let copied = unsafe { driven.card.copy_at(from, driven.nowhere, SIZE) };
        let seen = format!("{copied:?}");
        driven.no_interrupt()?;
        driven.copies(SIZE).context("afterwards")?;
        driven = driven.reinitialised()?;
        driven.copies(SIZE).context("initialised again")?;
        Ok(seen)
    })
}

/// Checks that a frame that gets lost is missed, and the next copy is whole.
pub(crate) fn lost_frame(_: &World, device: &Device, mode: Mode) -> Result<String> {
    driven(device, mode, |mut driven| {
        driven.prepare(SIZE)?;
        // QEMU does not send a frame that says it is IPv4 and has a header of no length.
        let source = &driven.card.memory()?.source;
        let mut window = Window::new(source);
        for (at, byte) in [(12, 8_u8), (13, 0), (14, 0x40)] {
            window.write(FRAME_MOST + at, byte)?;
        }
        let lost = driven.card.copy(SIZE);
        let ring = Ring::Receive;
        ensure!(lost == Err(IgbError::Lost { ring }), "{lost:?}");
        driven.no_interrupt()?;
        driven.copies(LONG).context("afterwards")?;
        Ok("missed".into())
    })
}

/// Checks that an interrupt comes once.
pub(crate) fn interrupt(_: &World, device: &Device, mode: Mode) -> Result<String> {
    driven(device, mode, |mut driven| {
        driven.interrupts()?;
        Ok("once".into())
    })
}

/// Does all in turn.
pub(crate) fn mixed(_: &World, device: &Device, mode: Mode) -> Result<String> {
    driven(device, mode, |mut driven| {
        for round in 0..TIMES {
            let each = |driven: &mut Driven<'_>| {
                driven.copies(SIZE)?;
                driven.copies_from_nowhere()?;
                driven.interrupts()
            };
            each(&mut driven).with_context(|| format!("round {round}"))?;
        }
        Ok(format!("{TIMES} rounds"))
    })
}

/// Copies for as long as the plan says.
pub(crate) fn storm(world: &World, device: &Device, mode: Mode) -> Result<String> {
    driven(device, mode, |mut driven| {
        driven.prepare(LONG)?;
        let start = Instant::now();
        let mut copied = 0_u64;
        while copied == 0 || start.elapsed() < Duration::from_secs(world.storm()) {
            driven.card.copy(LONG)?;
            copied += u64::try_from(LONG)?;
        }
        let time = start.elapsed();
        driven.is_copied(LONG)?;
        driven.no_interrupt()?;
        Ok(format!("{} MiB in {time:?}", copied >> 20))
    })
}

/// Runs `test` with the device initialised, after which nothing must be left mapped.
fn driven(
    device: &Device,
    mode: Mode,
    test: impl FnOnce(Driven<'_>) -> Result<String>,
) -> Result<String> {
    let (space, opened) = mode.open(device)?;
    let &(_, last) = ranges(&space)?.last().context("no range")?;
    let nowhere = (last - UNMAPPED) / PAGE * PAGE;
    let dma = Dma::new(Linux, space)?;
    let seen = test(Driven {
        card: card(&opened, &dma, memory(&dma)?)?,
        opened: &opened,
        dma: &dma,
        vectors: opened.vectors(pci_irq::MSIX)?,
        nowhere,
    })?;
    let left = dma.space().unmap_all();
    ensure!(
        matches!(left, Ok(0) | Err(Errno::ENOENT)),
        "left mapped: {left:?}"
    );
    Ok(seen)
}

fn card<'d>(
    opened: &'d Opened<Linux>,
    dma: &'d Space,
    copied: Copied<&'d Space>,
) -> Result<Card<'d>> {
    let bar0 = opened.bring_up(pci_region::BAR0)?;
    Ok(Igb::new(bar0, dma, copied)?)
}

/// Allocates memory to copy from and to.
fn memory(dma: &Space) -> Result<Copied<&Space>> {
    Ok(Copied {
        source: dma.buffer(LONG, Direction::Both)?,
        target: dma.buffer(LONG, Direction::Both)?,
    })
}

impl Driven<'_> {
    /// Removes the driver, and starts another.
    fn reinitialised(self) -> Result<Self> {
        let copied = self.card.remove()?;
        Ok(Self {
            card: card(self.opened, self.dma, copied)?,
            ..self
        })
    }

    /// Copies `len` bytes, all of which must be there, and nothing behind them.
    fn copies(&mut self, len: usize) -> Result<()> {
        self.prepare(len)?;
        self.card.copy(len)?;
        self.is_copied(len)?;
        self.no_interrupt()
    }

    /// Copies from where nothing is mapped; tells how that ended.
    fn copies_from_nowhere(&mut self) -> Result<String> {
        self.prepare(SIZE)?;
        let target = &self.card.memory()?.target;
        let to = target.iova();
        // SAFETY: an IOMMU confines the device.
        let copied = unsafe { self.card.copy_at(self.nowhere, to, SIZE) };
        let seen = format!("{copied:?}");
        self.no_interrupt()?;
        Ok(seen)
    }

    /// Checks that exactly one interrupt comes for one that is raised.
    fn interrupts(&mut self) -> Result<()> {
        let count = self.card.raise(&self.vectors, SOON)?;
        ensure!(count == 1, "it came {count} times");
        self.no_interrupt()
    }

    fn no_interrupt(&self) -> Result<()> {
        let count = self.vectors.take(0)?;
        ensure!(count == 0, "{count} interrupts came");
        Ok(())
    }

    /// Fills the source with a pattern and the destination with something else.
    fn prepare(&mut self, len: usize) -> Result<()> {
        let Copied { source, target } = self.card.memory()?;
        for at in 0..(len + 8).min(LONG) {
            Window::new(source).write(at, pattern(at))?;
            Window::new(target).write(at, b'y')?;
        }
        Ok(())
    }

    fn is_copied(&mut self, len: usize) -> Result<()> {
        let Copied { source, target } = self.card.memory()?;
        for at in 0..(len + 8).min(LONG) {
            let expected = if at < len { pattern(at) } else { b'y' };
            let seen: u8 = Window::new(target).read(at)?;
            ensure!(
                seen == expected,
                "byte {at} is {seen:#x}, not {expected:#x}"
            );
            let kept: u8 = Window::new(source).read(at)?;
            ensure!(kept == pattern(at), "the source has changed at {at}");
        }
        Ok(())
    }
}

/// Returns a byte of the source, from 0x40 to 0x7e: no two of them are the type of a protocol that
/// QEMU takes apart.
fn pattern(at: usize) -> u8 {
    let mixed = at ^ at >> 6 ^ at >> 12;
    b'@' + u8::try_from(mixed % 63).unwrap_or(0)
}
