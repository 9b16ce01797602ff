//! Binding PCI devices to vfio-pci.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use vfio_guest::{Device, Kind};

/// Takes a PCI device from its driver and gives it to vfio-pci; leaves a mediated device alone.
///
/// # Errors
///
/// A file in sysfs cannot be written. Whether the driver took the device is for a check to say.
pub(crate) fn bind(device: &Device) -> Result<()> {
    rebind(device, "vfio-pci")
}

/// Takes a PCI device from its driver and gives it to the driver called `driver`.
///
/// # Errors
///
/// As [`bind`].
pub(crate) fn rebind(device: &Device, driver: &str) -> Result<()> {
    let Kind::Pci { bdf, .. } = &device.kind else {
        return Ok(());
    };
    let sysfs = device.sysfs();
    write(&format!("{sysfs}/driver_override"), driver)?;
    let unbind = format!("{sysfs}/driver/unbind");
    if Path::new(&unbind).exists() {
        write(&unbind, bdf)?;
    }
    write("/sys/bus/pci/drivers_probe", bdf)
}

fn write(path: &str, value: &str) -> Result<()> {
    fs::write(path, value).with_context(|| format!("cannot write {value} to {path}"))
}
