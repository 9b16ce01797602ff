//! A PCI device (`vfio_pci_device_test`).

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use vfio_core::device::irq::{Action, Data};
use vfio_core::pci::{Command, Config, DeviceConfig};
use vfio_core::sys::{Errno, Sys as _};
use vfio_core::wire::abi::{DeviceFlags, pci_irq};
use vfio_guest::{Device, Kind};
use vfio_hosted::linux::Linux;

use super::setup::initialised;
use crate::mode::{InGuest as _, Mode};
use crate::report::NotRun;
use crate::world::World;

/// How many interrupts are triggered at most.
const MOST: u32 = 16;
/// How often a reset is tried, and how long it takes until the next time.
const TRIES: (usize, Duration) = (21, Duration::from_millis(10));

/// Checks that the IDs are the device's, and its bus mastering goes on and off.
pub(crate) fn config_space(_: &World, device: &Device, mode: Mode) -> Result<String> {
    let (_space, opened) = mode.open(device)?;
    let mut config = Config::new(DeviceConfig::ask(&opened, &mut [0; 512])?);
    let id = config.id().map_err(|error| anyhow!("{error}"))?;
    let Kind::Pci {
        vendor,
        device: ours,
        ..
    } = device.kind
    else {
        return Err(anyhow!("not a PCI device"));
    };
    ensure!((id.vendor, id.device) == (vendor, ours), "{id:?}");
    let mut command = config.command().map_err(|error| anyhow!("{error}"))?;
    ensure!(
        !command.contains(Command::MASTER),
        "from the start: {command}"
    );
    for on in [true, false] {
        command.set(Command::MASTER, on);
        config
            .set_command(command)
            .map_err(|error| anyhow!("{error}"))?;
        let seen = config.command().map_err(|error| anyhow!("{error}"))?;
        ensure!(seen == command, "{seen}, not {command}");
    }
    Ok("on and off".into())
}

/// Checks that what says that it can be mapped is mapped, and nothing else.
pub(crate) fn bars(_: &World, device: &Device, mode: Mode) -> Result<String> {
    let (_space, opened) = mode.open(device)?;
    let bars = initialised(&opened)?;
    ensure!(bars.iter().all(|(_, bar)| !bar.is_empty()), "{bars:?}");
    Ok(format!("{} BARs are mapped", bars.len()))
}

/// Checks that a device that can be reset is reset.
pub(crate) fn reset(_: &World, device: &Device, mode: Mode) -> Result<String> {
    let (_space, opened) = mode.open(device)?;
    let flags = opened.info(&mut [0; 512])?.flags;
    if !flags.contains(DeviceFlags::RESET) {
        return Err(NotRun("the device can't be reset".into()).into());
    }
    let (times, pause) = TRIES;
    for tried in 1..=times {
        match opened.reset() {
            Err(Errno::EAGAIN) => thread::sleep(pause),
            other => {
                other.context("reset")?;
                return Ok(format!("reset, tried {tried} times"));
            }
        }
    }
    Err(Errno::EAGAIN.into())
}

/// Checks that each MSI is triggered, and arrives once.
pub(crate) fn trigger_msi(_: &World, device: &Device, mode: Mode) -> Result<String> {
    trigger(device, mode, pci_irq::MSI)
}

/// Checks that each MSI-X is triggered, and arrives once.
pub(crate) fn trigger_msix(_: &World, device: &Device, mode: Mode) -> Result<String> {
    trigger(device, mode, pci_irq::MSIX)
}

fn trigger(device: &Device, mode: Mode, index: u32) -> Result<String> {
    let (_space, opened) = mode.open(device)?;
    let count = opened.irq(index)?.count.min(MOST);
    if count == 0 {
        return Err(NotRun("the device has no such interrupts".into()).into());
    }
    let events: Vec<_> = (0..count)
        .map(|_| Linux.event())
        .collect::<Result<_, _>>()?;
    let signalled: Vec<_> = events.iter().map(Some).collect();
    let mut buffer = [0; 128];
    let mut set = |start, data: &Data<'_, _>| {
        opened.set_irqs(index, start, Action::Trigger, data, &mut buffer)
    };
    set(0, &Data::Events(&signalled)).context("enable")?;
    for (vector, event) in (0..).zip(&events) {
        ensure!(Linux.event_take(event)? == 0, "{vector} came too early");
        set(vector, &Data::All(1)).with_context(|| format!("trigger {vector}"))?;
        let times = Linux.event_take(event)?;
        ensure!(times == 1, "{vector} came {times} times");
    }
    for event in &events {
        ensure!(Linux.event_take(event)? == 0, "one came again");
    }
    opened.disable_irqs(index).context("disable")?;
    Ok(format!("{count} interrupts"))
}
