//! Which features do devices have, and do those that move no data work?

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use vfio_core::abi::{FeatureId, pci_region};
use vfio_core::feature::{FeatureError, Support};
use vfio_core::sys::{Errno, Sys as _};
use vfio_guest::Device;
use vfio_hosted::linux::Linux;

use super::hardware::open;
use crate::report::NotRun;
use crate::world::World;

/// The longest that a device may take to fall asleep, and to wake.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a PCI device without migration has, with SR-IOV or without.
pub(crate) fn probe(_: &World, device: &Device) -> Result<String> {
    let (_container, opened) = open(device)?;
    let has_sriov = Path::new(&device.sysfs()).join("sriov_numvfs").exists();
    let mut seen = Vec::new();
    for id in (0..=13).chain([99, u16::MAX]).map(FeatureId) {
        let support = opened.probe_feature(id)?;
        let expected = match id {
            FeatureId::LOW_POWER_ENTRY
            | FeatureId::LOW_POWER_ENTRY_WITH_WAKEUP
            | FeatureId::LOW_POWER_EXIT => Support {
                get: false,
                set: true,
            },
            FeatureId::PCI_VF_TOKEN => Support {
                get: false,
                set: has_sriov,
            },
            // As the kernel is built.
            FeatureId::DMA_BUF => Support {
                set: false,
                ..support
            },
            _ => Support::default(),
        };
        ensure!(support == expected, "{id}: {support:?}");
        if support != Support::default() {
            seen.push(id.to_string());
        }
    }
    for (feature, answer, is_there) in [
        (FeatureId::BUS_MASTER, opened.set_bus_master(true), false),
        (
            FeatureId::PCI_VF_TOKEN,
            opened.set_vf_token([7; 16]),
            has_sriov,
        ),
    ] {
        let expected = if is_there {
            Ok(())
        } else {
            Err(FeatureError::Missing(feature))
        };
        ensure!(answer == expected, "{feature}: {answer:?}");
    }
    Ok(seen.join(", "))
}

/// A device falls asleep, and an access wakes it.
pub(crate) fn low_power(_: &World, device: &Device) -> Result<String> {
    let (_container, opened) = open(device)?;
    let mut buffer = [0; 64];
    let config = opened.region(pci_region::CONFIG, &mut buffer)?;
    let mut ids = [0; 4];
    opened.read(config.offset, 0, &mut ids)?;

    opened.enter_low_power()?;
    let again = opened.enter_low_power();
    ensure!(
        again
            == Err(FeatureError::Refused {
                feature: FeatureId::LOW_POWER_ENTRY,
                errno: Errno::EINVAL
            }),
        "entered twice: {again:?}"
    );
    sleeps(device)?;
    let mut awake = [0; 4];
    opened.read(config.offset, 0, &mut awake)?;
    ensure!(ids == awake, "{awake:02x?}, not {ids:02x?}");
    opened.exit_low_power()?;
    opened.exit_low_power()?;

    let wakeup = Linux.event()?;
    opened.enter_low_power_with_wakeup(&wakeup)?;
    sleeps(device)?;
    ensure!(Linux.event_take(&wakeup)? == 0, "it woke too soon");
    opened.read(config.offset, 0, &mut awake)?;
    ensure!(ids == awake, "{awake:02x?}, not {ids:02x?}");
    ensure!(
        Linux.event_wait(&wakeup, PATIENCE)?,
        "no event when it woke"
    );
    opened.exit_low_power()?;
    Ok("slept and woke twice".into())
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
