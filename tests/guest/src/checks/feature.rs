//! Which features do devices have, and do those that move no data work?

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use vfio_guest::Device;
use vfio_hosted::linux::Linux;
use vfio_tests::behaviour::feature;

use super::hardware::open;
use crate::report::NotRun;
use crate::world::World;

/// The longest that a device may take to fall asleep.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a PCI device without migration has, with SR-IOV or without.
pub(crate) fn probe(_: &World, device: &Device) -> Result<String> {
    let (_container, opened) = open(device)?;
    let has_sriov = Path::new(&device.sysfs()).join("sriov_numvfs").exists();
    feature::probe(&opened, has_sriov)
}

/// What a sample has that migrates.
pub(crate) fn probe_sample(world: &World) -> Result<String> {
    let (_container, opened) = open(world.named("mtty-1")?)?;
    feature::probe_sample(&opened)
}

/// A device falls asleep, and an access wakes it.
pub(crate) fn low_power(_: &World, device: &Device) -> Result<String> {
    let (_container, opened) = open(device)?;
    feature::low_power(&Linux, &opened, || sleeps(device))
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
