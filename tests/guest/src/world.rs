//! The guest as the checks see it.

use std::fs;

use anyhow::{Context as _, Result, anyhow};
use vfio_core::sys::NoIommu;
use vfio_guest::Device;
use vfio_hosted::OwnedPlace;
use vfio_hosted::discovery::System;

use crate::report::NotRun;

/// The guest as the checks see it.
pub(crate) struct World {
    /// Each device with how its preparation ended.
    devices: Vec<(Device, Result<()>)>,
    storm: u64,
}

impl World {
    pub(crate) fn new(devices: Vec<(Device, Result<()>)>, storm: u64) -> Self {
        Self { devices, storm }
    }

    /// Returns how many seconds a storm of copies lasts.
    pub(crate) const fn storm(&self) -> u64 {
        self.storm
    }

    /// Returns the devices of the plan, in its order.
    pub(crate) fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().map(|(device, _)| device)
    }

    /// Returns the device called `name`, prepared.
    ///
    /// # Errors
    ///
    /// [`NotRun`] where the plan has none; why it could not be prepared.
    pub(crate) fn named(&self, name: &str) -> Result<&Device> {
        let device = self
            .devices()
            .find(|device| device.name == name)
            .ok_or_else(|| NotRun(format!("there is no {name} here")))?;
        self.ready(device).map(|()| device)
    }

    /// Tells whether `device` could be prepared.
    ///
    /// # Errors
    ///
    /// Why it could not: [`NotRun`] where the kernel lacks what the device needs.
    pub(crate) fn ready(&self, device: &Device) -> Result<()> {
        match self.devices.iter().find(|(known, _)| known == device) {
            Some((_, Ok(()))) => Ok(()),
            Some((_, Err(error))) => match error.downcast_ref::<NotRun>() {
                Some(NotRun(reason)) => Err(NotRun(reason.clone()).into()),
                None => Err(anyhow!("{error:#}")),
            },
            None => Err(anyhow!("{} is not in the plan", device.name)),
        }
    }
}

/// Returns where the program's own way of looking finds the device.
///
/// # Errors
///
/// It is no PCI device, or sysfs cannot be read.
pub(crate) fn place(device: &Device) -> Result<OwnedPlace> {
    Ok(acknowledged(
        System::host().place(device.address().parse()?)?,
    ))
}

/// Returns a place with the word that its device may be opened without an IOMMU.
pub(crate) fn acknowledged(place: OwnedPlace) -> OwnedPlace {
    // SAFETY: the drivers that run without an IOMMU, those of edu, nvme and virtio, stop
    // their devices before they give memory back. No memory of the guest goes offline, nor is its contiguous
    // memory asked for, and nobody moves pages.
    let word = unsafe { NoIommu::acknowledge() };
    OwnedPlace {
        noiommu: Some(word),
        ..place
    }
}

/// Returns the number of the device's IOMMU group.
///
/// # Errors
///
/// The device has no IOMMU group.
pub(crate) fn group(device: &Device) -> Result<u32> {
    let group = link_name(&format!("{}/iommu_group", device.sysfs()))?;
    group
        .parse()
        .with_context(|| format!("{group} is no number of an IOMMU group"))
}

/// Returns the name of the driver that the device is bound to.
///
/// # Errors
///
/// The device is bound to none.
pub(crate) fn driver(device: &Device) -> Result<String> {
    link_name(&format!("{}/driver", device.sysfs()))
}

/// Returns the path of the device's own character device, where the kernel has one
/// (`CONFIG_VFIO_DEVICE_CDEV`).
///
/// # Errors
///
/// [`NotRun`] where the kernel has none.
pub(crate) fn cdev(device: &Device) -> Result<String> {
    let none = || NotRun("this kernel has no VFIO device cdev".into());
    let directory = format!("{}/vfio-dev", device.sysfs());
    let entry = fs::read_dir(&directory).map_err(|_| none())?.next();
    let entry = entry.with_context(|| format!("{directory} is empty"))??;
    // Before Linux 6.6 the entry is there and has no character device.
    if !entry.path().join("dev").exists() {
        return Err(none().into());
    }
    Ok(format!(
        "/dev/vfio/devices/{}",
        entry.file_name().to_string_lossy()
    ))
}

/// Returns the kernel's version: the first two numbers of its release.
///
/// # Errors
///
/// The release does not start with them.
pub(crate) fn version() -> Result<(u32, u32)> {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => Err(anyhow!("{release} is no version of Linux")),
    }
}

/// Returns the last component of what the symbolic link at `path` points to.
fn link_name(path: &str) -> Result<String> {
    let target = fs::read_link(path).with_context(|| format!("cannot read the link {path}"))?;
    let name = target
        .file_name()
        .with_context(|| format!("{path} points nowhere"))?;
    Ok(name.to_string_lossy().into_owned())
}
