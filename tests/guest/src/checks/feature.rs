//! Which features do devices have?

use std::path::Path;

use anyhow::Result;
use vfio_conformance::behaviour::feature;
use vfio_guest::Device;

use super::hardware::open;
use crate::world::World;

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
