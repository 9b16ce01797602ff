//! What accesses do while the memory of a device is not to be had: trapped ones fail, and mapped
//! ones end the process.

use std::os::unix::process::ExitStatusExt as _;

use anyhow::{Result, anyhow, bail, ensure};
use vfio_core::device::Device as Opened;
use vfio_core::mmio::{CanReadWrite, RegisterError, TrapError};
use vfio_core::pci::{Command, Config, DeviceConfig};
use vfio_core::sys::Errno;
use vfio_core::wire::abi::pci_region;
use vfio_guest::Device;
use vfio_hosted::linux::Linux;

use crate::child;
use crate::mode::{InGuest as _, Mode};
use crate::world::World;

/// The part of a process that touches a mapped BAR while its memory is not decoded.
pub(crate) const OFF: &str = "decoding-off";
/// The same while the device may sleep.
pub(crate) const LOW: &str = "low-power";

/// `SIGBUS` (asm-generic/signal.h).
const SIGBUS: i32 = 7;

/// A register in BAR 0 of edu that keeps what is written to it.
const SOURCE: usize = 0x80;

/// Checks that trapped accesses fail with `EIO`, and work again afterwards.
pub(crate) fn trapped(_: &World, device: &Device, mode: Mode) -> Result<String> {
    let (_space, opened) = mode.open(device)?;
    let mut buffer = [0; 256];
    let region = opened.region(pci_region::BAR0, &mut buffer)?;
    let mut bar = opened.trap::<CanReadWrite>(&region)?;
    decode(&opened, true)?;
    bar.write(SOURCE, 0x1234_u32)?;
    decode(&opened, false)?;
    let failed = RegisterError::Access(TrapError::Errno {
        offset: SOURCE,
        errno: Errno::EIO,
    });
    let read = bar.read::<u32>(SOURCE);
    ensure!(read == Err(failed), "read: {read:?}");
    let written = bar.write(SOURCE, 0x5678_u32);
    ensure!(written == Err(failed), "written: {written:?}");
    decode(&opened, true)?;
    let kept = bar.read::<u32>(SOURCE)?;
    ensure!(kept == 0x1234, "the register holds {kept:#x}");
    Ok("EIO, and nothing written".into())
}

/// Checks that mapped accesses end the process.
pub(crate) fn mapped(_: &World, device: &Device, mode: Mode) -> Result<String> {
    drop(mode.open(device)?);
    ends(OFF, device, mode)?;
    let (_space, opened) = mode.open(device)?;
    ensure!(reads(&opened)? == 0x0100_00ed, "another identification");
    Ok("SIGBUS".into())
}

/// Checks that mapped accesses end the process while the device may sleep, awake or not.
pub(crate) fn mapped_in_low_power(_: &World, device: &Device, mode: Mode) -> Result<String> {
    drop(mode.open(device)?);
    ends(LOW, device, mode)?;
    let (_space, opened) = mode.open(device)?;
    ensure!(reads(&opened)? == 0x0100_00ed, "another identification");
    Ok("SIGBUS".into())
}

/// Checks that a process that does `part` must be ended by `SIGBUS`.
fn ends(part: &str, device: &Device, mode: Mode) -> Result<()> {
    let mut child = child::start(part, device, mode)?;
    let begun = child::has_begun(&mut child)?;
    let status = child.wait()?;
    ensure!(
        begun,
        "it did not come so far: {}",
        child::described(status)
    );
    ensure!(
        status.signal() == Some(SIGBUS),
        "it ended with {}",
        child::described(status)
    );
    Ok(())
}

/// Touches a mapped BAR while its memory is not decoded.
pub(crate) fn touch_while_off(device: &Device, mode: Mode) -> Result<()> {
    let (_space, opened) = mode.open(device)?;
    let mut bar = opened.bring_up(pci_region::BAR0)?;
    bar.read::<u32>(0)?;
    decode(&opened, false)?;
    println!("off");
    let read = bar.read::<u32>(0);
    bail!("it was read: {read:x?}");
}

/// Touches a mapped BAR while the device may sleep.
pub(crate) fn touch_while_low(device: &Device, mode: Mode) -> Result<()> {
    let (_space, opened) = mode.open(device)?;
    let mut bar = opened.bring_up(pci_region::BAR0)?;
    bar.read::<u32>(0)?;
    opened.enter_low_power()?;
    println!("low");
    let read = bar.read::<u32>(0);
    bail!("it was read: {read:x?}");
}

/// Reads the first register of BAR 0 through a mapping.
fn reads(opened: &Opened<Linux>) -> Result<u32> {
    Ok(opened.bring_up(pci_region::BAR0)?.read(0)?)
}

/// Turns the decoding of memory on or off.
fn decode(opened: &Opened<Linux>, is_on: bool) -> Result<()> {
    let mut buffer = [0; 256];
    let mut config = Config::new(DeviceConfig::ask(opened, &mut buffer)?);
    let mut command = config.command().map_err(|error| anyhow!("{error}"))?;
    command.set(Command::MEMORY, is_on);
    config
        .set_command(command)
        .map_err(|error| anyhow!("{error}"))
}
