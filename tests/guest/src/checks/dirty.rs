//! Which memory do devices write: the tracking of a container, and the log of a device.

use anyhow::Result;
use vfio_conformance::behaviour::dirty;
use vfio_guest::Device;
use vfio_hosted::linux::Linux;

use super::hardware::open;
use crate::world::World;

/// Checks that what is mapped counts as written, and what is not does not.
pub(crate) fn container(world: &World) -> Result<String> {
    let (container, _device) = open(world.named("edu")?)?;
    dirty::container(&Linux, &container)
}

/// Checks that no PCI device here logs: each request is refused by its name.
pub(crate) fn device(_: &World, device: &Device) -> Result<String> {
    let (_container, opened) = open(device)?;
    dirty::missing(&opened)
}

/// Checks that the sample `mtty` logs, and writes nothing.
pub(crate) fn logged(world: &World) -> Result<String> {
    let (_container, opened) = open(world.named("mtty-1")?)?;
    dirty::logged(&opened)
}
