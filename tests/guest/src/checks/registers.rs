//! The program `vfio` on the registers and the drivers of real devices.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use vfio_guest::{Device, Kind};

use super::command::{good, told};
use crate::program;
use crate::session::{Session, Through};
use crate::world::{World, driver};

/// Checks that configuration space is read by register and as a whole. Edu's registers are written,
/// too.
pub(crate) fn access(_: &World, device: &Device) -> Result<String> {
    let Kind::Pci {
        vendor, device: id, ..
    } = device.kind
    else {
        bail!("not a PCI device")
    };
    let address = device.address();
    for (offset, expected) in [("0", vendor), ("2", id)] {
        let text = good(&["read", address, "config", offset, "--width", "16"])?;
        ensure!(
            text.trim() == format!("{expected:#06x}"),
            "{offset}: {text:?}"
        );
    }
    let dump = json(&["dump", address, "config", "--json"])?;
    let bytes = dump["ranges"][0]["bytes"].as_str().context("no bytes")?;
    let (low, high) = (vendor.swap_bytes(), id.swap_bytes());
    ensure!(
        bytes.starts_with(&format!("{low:04x}{high:04x}")),
        "{bytes}"
    );
    let size = bytes.len() / 2;
    let path = format!("{}/config", device.sysfs());
    let expected = fs::metadata(&path).with_context(|| path.clone())?.len();
    ensure!(
        u64::try_from(size)? == expected,
        "{size} bytes, and {path} has {expected}"
    );
    let watched = good(&[
        "watch",
        address,
        "config",
        "0",
        "--count",
        "3",
        "--interval",
        "1",
    ])?;
    ensure!(watched.lines().count() == 1, "{watched}");

    if device.name != "edu" {
        return Ok(format!("{size} bytes"));
    }
    let text = good(&["read", address, "bar0", "0"])?;
    ensure!(text.trim() == "0x010000ed", "identification {text:?}");
    // The liveness register gives back the complement.
    good(&["write", address, "bar0", "4", "0x12345678"])?;
    let text = good(&["read", address, "bar0", "4"])?;
    ensure!(text.trim() == "0xedcba987", "liveness {text:?}");
    Ok(format!("{size} bytes, and BAR 0"))
}

/// Checks that the picture says of MSI-X what the interrupts say, and maps what is inspected as
/// mapped.
pub(crate) fn map(_: &World, device: &Device) -> Result<String> {
    let address = device.address();
    let map = json(&["map", address, "--json"])?;
    let inspected = json(&["inspect", address, "--json"])?;
    let irqs = inspected["irqs"].as_array().context("no interrupts")?;
    let count = irqs
        .iter()
        .find(|irq| irq["name"] == "MSIX")
        .and_then(|irq| irq["count"].as_u64())
        .unwrap_or(0);
    let vectors = map["msix"]["vectors"].as_u64().unwrap_or(0);
    ensure!(vectors == count, "{vectors} vectors, {count} interrupts");
    let regions = map["regions"].as_array().context("no regions")?;
    for region in regions {
        let same = inspected["regions"]
            .as_array()
            .is_some_and(|all| all.contains(region));
        ensure!(same, "{region}");
    }
    let picture = good(&["map", address, "--svg", "-"])?;
    ensure!(picture.starts_with("<svg"), "{picture}");
    Ok(format!("{} regions, {vectors} vectors", regions.len()))
}

/// Checks that a device that says that it can be reset is reset, and any other is refused.
pub(crate) fn reset(_: &World, device: &Device) -> Result<String> {
    let address = device.address();
    let inspected = json(&["inspect", address, "--json"])?;
    let flags = inspected["flags"].as_array().context("no flags")?;
    let can = flags.iter().any(|flag| flag == "RESET");
    match device.name.as_str() {
        "edu" => ensure!(!can, "edu has no reset"),
        "nvme" | "nvme-port" | "nvme-guard" | "e1000e" => ensure!(can, "flags {flags:?}"),
        _ => (),
    }
    if can {
        let text = good(&["reset", address])?;
        return Ok(text.trim().into());
    }
    refused(&["reset", address], "EINVAL")
}

/// Checks that the device goes back to the kernel's driver and to vfio-pci again, but not while it is open.
pub(crate) fn bind(_: &World, device: &Device) -> Result<String> {
    let address = device.address();
    let open = Session::open(device, Through::Type1)?;
    refused(&["unbind", address], "process 1 ")?;
    drop(open);

    good(&["unbind", address])?;
    // Which one it is depends on the kernel: it may have none.
    let own = driver(device).unwrap_or_else(|_| "none".into());
    ensure!(own != "vfio-pci", "vfio-pci has it still");
    let name = fs::read_to_string(format!("{}/driver_override", device.sysfs()))?;
    ensure!(name.trim() == "(null)", "driver_override is {name:?}");
    refused(&["unbind", address], "not to vfio-pci").or_else(|error| {
        if own == "none" {
            refused(&["unbind", address], "bound to no driver")
        } else {
            Err(error)
        }
    })?;

    // The display that the system booted with is given away by force only.
    let is_boot_display = fs::read_to_string(format!("{}/boot_vga", device.sysfs()))
        .is_ok_and(|flag| flag.trim() == "1");
    let text = if is_boot_display {
        refused(&["bind", address], "--force")?;
        good(&["bind", "--persist", "--force", address])?
    } else {
        good(&["bind", "--persist", address])?
    };
    let rules = format!("/etc/udev/rules.d/20-vfio-{address}.rules");
    let rule = fs::read_to_string(&rules)?;
    ensure!(
        rule.contains(address) && rule.contains("vfio-pci"),
        "{rule:?}"
    );
    let seen = driver(device)?;
    ensure!(seen == "vfio-pci", "bound to {seen}");
    ensure!(text.contains(&own), "{text:?} does not name {own}");
    let again = good(&["bind", address])?;
    ensure!(again.contains("already"), "{again:?}");
    drop(Session::open(device, Through::Type1)?);
    good(&["unbind", address])?;
    ensure!(!Path::new(&rules).exists(), "{rules} is still there");
    good(&["bind", "--force", address])?;
    Ok(format!("to {own} and back"))
}

fn json(arguments: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&good(arguments)?)?)
}

/// Checks that the complaint of the program, which must end with 1 and say `word`.
pub(super) fn refused(arguments: &[&str], word: &str) -> Result<String> {
    let ended = program::run("/bin/vfio", arguments)?;
    ensure!(ended.status == Some(1), "{arguments:?}: {}", told(&ended));
    ensure!(ended.stderr.contains(word), "{}", ended.stderr);
    Ok(ended.stderr.trim().into())
}
