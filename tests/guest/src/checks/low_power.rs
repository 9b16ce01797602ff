//! Does a device sleep while nothing is asked of it, and wake when something is?

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use vfio_conformance::behaviour::low_power;
use vfio_guest::Device;
use vfio_hosted::linux::Linux;

use super::hardware::open;
use crate::mode::{InGuest as _, Mode};
use crate::report::NotRun;
use crate::world::World;

/// The longest that a device may take to fall asleep.
const PATIENCE: Duration = Duration::from_secs(5);

/// Checks that a device falls asleep, and an access wakes it.
pub(crate) fn config(_: &World, device: &Device) -> Result<String> {
    let (_container, opened) = open(device)?;
    let seen = low_power::config(&Linux, &opened, || sleeps(device))?;
    opened.enter_low_power()?;
    sleeps(device)?;
    let state = power_state(device)?;
    // Whoever opens it next finds it awake.
    drop((_container, opened));
    let (_container, opened) = open(device)?;
    ensure!(power_state(device)? == "D0", "asleep when it was opened");
    opened.enter_low_power()?;
    opened.exit_low_power()?;
    Ok(format!("{seen}, in {state}"))
}

/// Checks registers, trapped and mapped.
pub(crate) fn registers(_: &World, device: &Device, mode: Mode) -> Result<String> {
    let (_space, opened) = mode.open(device)?;
    let offset = match device.name.as_str() {
        "edu" => low_power::EDU,
        _ => low_power::NVME,
    };
    low_power::registers(&Linux, &opened, offset, || sleeps(device))
}

/// Waits until the kernel has suspended the device.
fn sleeps(device: &Device) -> Result<()> {
    let path = format!("{}/power/runtime_status", device.sysfs());
    if !fs::exists(&path)? {
        return Err(NotRun("this kernel suspends no device (CONFIG_PM)".into()).into());
    }
    let start = Instant::now();
    loop {
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        if status.trim() == "suspended" {
            return Ok(());
        }
        ensure!(
            start.elapsed() < PATIENCE,
            "still {} after {PATIENCE:?}",
            status.trim()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Returns the state that the device is in. One without power management never leaves D0.
fn power_state(device: &Device) -> Result<String> {
    let path = format!("{}/power_state", device.sysfs());
    let state = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    Ok(state.trim().into())
}
