//! Mediated devices, from the kernel's sample drivers.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use vfio_guest::{Device, Kind};

use crate::report::NotRun;

/// Creates a mediated device; leaves a PCI device alone.
///
/// # Errors
///
/// [`NotRun`] where the kernel lacks the sample driver, otherwise what the kernel answered.
pub(crate) fn create(device: &Device) -> Result<()> {
    let Kind::Mdev {
        uuid,
        parent,
        mdev_type,
    } = &device.kind
    else {
        return Ok(());
    };
    let directory = format!("/sys/class/mdev_bus/{parent}/mdev_supported_types/{mdev_type}");
    if !Path::new(&directory).exists() {
        return Err(NotRun(format!("this kernel has no mdev type {mdev_type}")).into());
    }
    let create = format!("{directory}/create");
    fs::write(&create, uuid).with_context(|| format!("cannot write {uuid} to {create}"))
}
