//! A process that is killed while its device writes memory.

use std::os::unix::process::ExitStatusExt as _;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use vfio_conformance::session::{self, Reach};
use vfio_core::dma::{Direction, Dma};
use vfio_core::mmio::Window;
use vfio_core::sys::{Pages, Sys as _};
use vfio_core::wire::abi::pci_region;
use vfio_drivers::edu::{DmaEngine, Edu};
use vfio_guest::Device;
use vfio_hosted::linux::{Linux, Memory};

use crate::child;
use crate::mode::{InGuest as _, Mode};
use crate::world::{World, place};

/// The part of a process that copies for ever.
pub(crate) const COPY: &str = "copy";

/// How often a process is killed.
const ROUNDS: u64 = 3;

/// `SIGKILL` (asm-generic/signal.h).
const SIGKILL: i32 = 9;

/// edu takes a tenth of a second for a copy.
const COPYING: Duration = Duration::from_millis(100);

/// Bytes of a copy: edu has a buffer of a page, and copies less.
const COPIED: usize = 4088;

/// What stands in the memory that is watched: as much as the process had, and more.
const WATCHED: usize = 64 << 20;
const PATTERN: u64 = 0xc3c3_c3c3_c3c3_c3c3;

/// Checks that the device opens again and works. Nothing was written in memory that the kernel gave
/// out meanwhile.
pub(crate) fn killed(_: &World, device: &Device, mode: Mode) -> Result<String> {
    drop(mode.open(device)?);
    for round in 0..ROUNDS {
        let mut process = child::start(COPY, device, mode)?;
        ensure!(child::has_begun(&mut process)?, "it did not copy");
        // Each time at another moment of a copy.
        sleep(Duration::from_millis(37 * round));
        process.kill()?;
        let status = process.wait()?;
        ensure!(
            status.signal() == Some(SIGKILL),
            "it ended with {}",
            child::described(status)
        );
        // Memory that was the process's is among that which is given out now.
        let mut watched = Window::new(Linux.memory(WATCHED, Pages::Ordinary)?);
        each(&mut watched, |memory, at| {
            memory
                .write(at, PATTERN)
                .map_err(|error| anyhow!("{error}"))
        })?;
        sleep(COPYING + Duration::from_millis(20));
        each(&mut watched, |memory, at| {
            let seen: u64 = memory.read(at).map_err(|error| anyhow!("{error}"))?;
            ensure!(seen == PATTERN, "{seen:#x} was written at {at:#x}");
            Ok(())
        })?;
    }
    let place = place(device)?;
    let reach = Reach::Mapped;
    session::edu(&Linux, &place.as_place(), mode, reach)
        .map_err(|error| anyhow!("it does not work again: {error}"))?;
    Ok(format!("{ROUNDS} times"))
}

/// Does something at each cache line.
fn each(
    memory: &mut Window<Memory>,
    act: impl Fn(&mut Window<Memory>, usize) -> Result<()>,
) -> Result<()> {
    (0..memory.len())
        .step_by(64)
        .try_for_each(|at| act(memory, at))
}

/// Has edu write memory over and over.
pub(crate) fn copy_for_ever(device: &Device, mode: Mode) -> Result<()> {
    let (space, opened) = mode.open(device)?;
    let dma = Dma::<_, 16>::new(Linux, space)?;
    let edu = Edu::new(opened.bring_up(pci_region::BAR0)?)?;
    let mut engine = DmaEngine::new(edu, &dma, Direction::Both)?;
    let mut bytes = [0; COPIED];
    for round in 0_u64.. {
        bytes[..8].copy_from_slice(&round.to_le_bytes());
        engine.write(&bytes)?;
        if round == 0 {
            println!("copying");
        }
        for _ in 0..64 {
            engine.read(&mut bytes)?;
        }
    }
    Ok(())
}
