//! The process whose system calls are counted.

use std::hint::black_box;
use std::io::{self, BufRead as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use vfio_core::device::irq::Vectors;
use vfio_core::dma::{Direction, Dma};
use vfio_core::mmio::{CanReadWrite, Window};
use vfio_core::open::{Mode, Session};
use vfio_core::sys::{Pages, Sys as _};
use vfio_core::wire::abi::{pci_irq, pci_region};
use vfio_drivers::edu::Edu;
use vfio_hosted::OwnedPlace;
use vfio_hosted::discovery::System;
use vfio_hosted::linux::Linux;

use super::peers;
use crate::world::acknowledged;

/// The program's argument that makes it such a process: then operation, mode and address follow.
pub(crate) const COUNT: &str = "count";

/// What it says once everything is prepared. It goes on when it is told anything.
pub(super) const READY: &str = "ready";

/// How often what is cheap is done.
const TIMES: usize = 100;

/// Bytes of a page.
const PAGE: usize = 4096;

/// A free IOVA on any machine.
const IOVA: u64 = 0x100_0000;

/// One operation whose calls are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// Opens the device and maps its BAR 0.
    Open,
    /// As `Open`, and switches decoding and bus mastering on.
    BringUp,
    /// As `Open`, and looks for the device in sysfs first.
    FindOpen,
    /// As `Open`, with `pci-driver`.
    OpenPciDriver,
    /// As `Open`, with `vfio-ioctls`, which maps nothing.
    OpenVfioIoctls,
    /// Reads a mapped register, a hundred times.
    ReadMapped,
    /// Reads a trapped register, a hundred times.
    ReadTrapped,
    /// Maps a page of memory, a hundred times.
    Map,
    /// Unmaps a page of memory, a hundred times.
    Unmap,
    /// Maps a buffer of a page, with memory of its own.
    Buffer,
    /// Drops it.
    DropBuffer,
    /// Waits for an interrupt that comes.
    Wait,
}

impl Operation {
    pub(super) const ALL: [Self; 12] = [
        Self::Open,
        Self::BringUp,
        Self::FindOpen,
        Self::OpenPciDriver,
        Self::OpenVfioIoctls,
        Self::ReadMapped,
        Self::ReadTrapped,
        Self::Map,
        Self::Unmap,
        Self::Buffer,
        Self::DropBuffer,
        Self::Wait,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::BringUp => "bring up",
            Self::FindOpen => "find and open",
            Self::OpenPciDriver => "open by pci-driver",
            Self::OpenVfioIoctls => "open by vfio-ioctls",
            Self::ReadMapped => "100 mapped reads",
            Self::ReadTrapped => "100 trapped reads",
            Self::Map => "100 maps",
            Self::Unmap => "100 unmaps",
            Self::Buffer => "buffer",
            Self::DropBuffer => "drop buffer",
            Self::Wait => "wait",
        }
    }

    /// Tells whether it can be done in `mode`.
    pub(super) fn is_in(self, mode: Mode) -> bool {
        match self {
            Self::OpenPciDriver | Self::OpenVfioIoctls => mode == peers::MODE,
            // Without an IOMMU, nothing is mapped.
            Self::Map | Self::Unmap => mode != Mode::NoIommu,
            _ => true,
        }
    }
}

/// Does what the program's arguments say, between two marks.
///
/// # Errors
///
/// It can't be done.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let [operation, mode, address] = arguments else {
        anyhow::bail!("operation, mode and address are missing");
    };
    let operation = Operation::ALL
        .into_iter()
        .find(|known| known.name() == operation)
        .context("there is no such operation")?;
    let mode = Mode::by_name(mode).context("there is no such mode")?;
    let find = || -> Result<OwnedPlace> {
        Ok(acknowledged(
            System::host().place_in(address.parse()?, mode)?,
        ))
    };
    let place = find()?;
    let sysfs = format!("/sys/bus/pci/devices/{address}");
    match operation {
        Operation::Open | Operation::FindOpen => {
            let found;
            let mut place = place.as_place();
            start()?;
            if operation == Operation::FindOpen {
                found = find()?;
                place = found.as_place();
            }
            let session = Session::open_in(mode, &Linux, &place)?;
            let mut reply = [0; 256];
            let bar0 = session.device.region(pci_region::BAR0, &mut reply)?;
            let window: Window<_, CanReadWrite> = session.device.map(&bar0, 0)?;
            mark();
            ensure!(!window.is_empty(), "nothing is mapped");
        }
        Operation::OpenPciDriver => {
            start()?;
            let opened = peers::open_pci_driver(&sysfs)?;
            mark();
            drop(opened);
        }
        Operation::OpenVfioIoctls => {
            start()?;
            let opened = peers::open_vfio_ioctls(&sysfs)?;
            mark();
            drop(opened);
        }
        Operation::BringUp => {
            start()?;
            let session = Session::open_in(mode, &Linux, &place.as_place())?;
            let window = session.device.bring_up(pci_region::BAR0)?;
            mark();
            ensure!(!window.is_empty(), "nothing is mapped");
        }
        _ => in_session(
            operation,
            Session::open_in(mode, &Linux, &place.as_place())?,
        )?,
    }
    Ok(())
}

/// Does the operation with an open device.
fn in_session(operation: Operation, session: Session<Linux>) -> Result<()> {
    // What is mapped by hand outlives the address space and the device.
    let memory;
    let Session { device, space, .. } = session;
    match operation {
        Operation::ReadMapped => {
            let mut window = device.bring_up(pci_region::BAR0)?;
            start()?;
            for _ in 0..TIMES {
                black_box(window.read::<u32>(0)?);
            }
            mark();
        }
        Operation::ReadTrapped => {
            let _window = device.bring_up(pci_region::BAR0)?;
            let mut reply = [0; 256];
            let bar0 = device.region(pci_region::BAR0, &mut reply)?;
            let mut window: Window<_, CanReadWrite> = device.trap(&bar0)?;
            start()?;
            for _ in 0..TIMES {
                black_box(window.read::<u32>(0)?);
            }
            mark();
        }
        Operation::Map | Operation::Unmap => {
            memory = Linux.memory(TIMES * PAGE, Pages::Ordinary)?;
            let place = |n: usize| IOVA + (n * PAGE) as u64;
            let map = || -> Result<()> {
                for n in 0..TIMES {
                    let range = n * PAGE..(n + 1) * PAGE;
                    // SAFETY: the memory is declared before the address space and the device,
                    // and so is dropped after both.
                    unsafe { space.map(&memory, range, place(n), Direction::Both) }?;
                }
                Ok(())
            };
            if operation == Operation::Map {
                start()?;
                map()?;
            } else {
                map()?;
                start()?;
                for n in 0..TIMES {
                    space.unmap(place(n), PAGE as u64)?;
                }
            }
            mark();
        }
        Operation::Buffer | Operation::DropBuffer => {
            let dma = Dma::<_, 16>::new(Linux, space)?;
            if operation == Operation::Buffer {
                start()?;
                let buffer = dma.buffer(PAGE, Direction::Both)?;
                mark();
                ensure!(buffer.len() == PAGE, "{} bytes", buffer.len());
            } else {
                let buffer = dma.buffer(PAGE, Direction::Both)?;
                start()?;
                drop(buffer);
                mark();
            }
        }
        _ => {
            let vectors: Vectors<_, 1> = device.vectors(pci_irq::MSI)?;
            let mut edu = Edu::new(device.bring_up(pci_region::BAR0)?)?;
            edu.raise(1, &vectors)?;
            start()?;
            let raised = edu.raise(1, &vectors);
            mark();
            raised?;
            let more = vectors.wait(0, Duration::ZERO)?;
            ensure!(more == 0, "{more} interrupts too many");
        }
    }
    Ok(())
}

/// Says that everything is prepared, waits to be told to go on, and makes the mark.
fn start() -> Result<()> {
    println!("{READY}");
    io::stdout().flush()?;
    io::stdin().lock().read_line(&mut String::new())?;
    mark();
    Ok(())
}

/// Makes the call that is looked for.
fn mark() {
    let _ = black_box(rustix::process::getppid());
}
