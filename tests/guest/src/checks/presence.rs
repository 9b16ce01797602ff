//! Is each device there, and can it be opened?

use std::fs;
use std::os::unix::fs::FileTypeExt as _;

use anyhow::{Context as _, Result, bail, ensure};
use vfio_guest::{Device, Kind};

use crate::report::NotRun;
use crate::world::{World, cdev, driver, group};

/// Checks that the device is in sysfs, has a VFIO driver and an IOMMU group, and that its character
/// devices exist.
pub(crate) fn presence(_: &World, device: &Device) -> Result<String> {
    let driver = driver(device)?;
    let expected = match &device.kind {
        Kind::Pci { .. } => "vfio-pci",
        // The parent driver is also the VFIO driver of what it creates.
        Kind::Mdev { parent, .. } => parent,
    };
    ensure!(driver == expected, "bound to {driver}, not to {expected}");
    let group = group(device)?;
    character_device(&format!("/dev/vfio/{group}"))?;
    let cdev = match cdev(device) {
        Ok(path) => {
            character_device(&path)?;
            path
        }
        Err(error) if error.is::<NotRun>() => "no cdev".into(),
        Err(error) => return Err(error),
    };
    Ok(format!("{driver}, group {group}, {cdev}"))
}

/// Checks that the device at this address is the one that the plan means.
pub(crate) fn pci_ids(_: &World, device: &Device) -> Result<String> {
    let Kind::Pci {
        vendor, device: id, ..
    } = device.kind
    else {
        bail!("not a PCI device")
    };
    let seen = (attribute(device, "vendor")?, attribute(device, "device")?);
    ensure!(
        seen == (vendor, id),
        "is {:04x}:{:04x}, not {vendor:04x}:{id:04x}",
        seen.0,
        seen.1
    );
    Ok(format!("{vendor:04x}:{id:04x}"))
}

/// Returns a number that sysfs writes as `0x` and hexadecimal digits.
fn attribute(device: &Device, name: &str) -> Result<u16> {
    let path = format!("{}/{name}", device.sysfs());
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let digits = text
        .trim()
        .strip_prefix("0x")
        .with_context(|| format!("{path} does not start with 0x"))?;
    u16::from_str_radix(digits, 16).with_context(|| format!("{path} holds no number"))
}

fn character_device(path: &str) -> Result<()> {
    let kind = fs::metadata(path)
        .with_context(|| format!("{path} does not exist"))?
        .file_type();
    ensure!(kind.is_char_device(), "{path} is no character device");
    Ok(())
}
