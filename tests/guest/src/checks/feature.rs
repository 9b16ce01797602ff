//! Which features do devices have?

use std::path::Path;

use anyhow::Result;
use vfio_conformance::behaviour::feature;
use vfio_guest::Device;

use super::hardware::open;
use crate::world::World;

/// Checks the features of a PCI device without migration, with SR-IOV or without.
pub(crate) fn probe(_: &World, device: &Device) -> Result<String> {
    let (_container, opened) = open(device)?;
    let has_sriov = Path::new(&device.sysfs()).join("sriov_numvfs").exists();
    feature::probe(&opened, has_sriov)
}

/// Checks the features of a sample that migrates.
pub(crate) fn probe_sample(world: &World) -> Result<String> {
    let (_container, opened) = open(world.named("mtty-1")?)?;
    feature::probe_sample(&opened)
}
