//! Hot resets, and writes that the kernel makes when an event is signalled.

use std::ffi::CString;

use anyhow::Result;
use vfio_conformance::behaviour::{hot_reset, ioeventfd};
use vfio_core::device::Device as Opened;
use vfio_core::device::reset::Ownership;
use vfio_core::open::container::{Container, Group};
use vfio_core::open::iommufd::Ioas;
use vfio_core::wire::abi::Extension;
use vfio_guest::Device;
use vfio_hosted::linux::Linux;

use super::hardware;
use crate::world::{World, cdev, group};

/// From here on the firmware and the console have put nothing into the memory of the display.
const FREE: usize = 8 << 20;

/// `TDLEN` of an e1000e: a register that a driver writes and a reset clears.
const TDLEN: usize = 0x3808;

/// The other function of the slot.
const SIBLING: (&str, &str) = ("e1000e", "e1000e-1");

/// Resets by the groups of the devices that it takes along.
pub(crate) fn by_group(world: &World, device: &Device) -> Result<String> {
    let (_container, own, opened) = open(device)?;
    let seen = hot_reset::by_group(&opened, &own, on_root_bus(device))?;
    if on_root_bus(device) {
        return Ok(seen);
    }
    hot_reset::by_nobody(&opened)?;
    if device.name != SIBLING.0 {
        return Ok(seen);
    }
    let sibling = world.named(SIBLING.1)?;
    let sibling = own.device(&CString::new(sibling.address())?)?;
    hot_reset::cleared(&[&opened, &sibling], TDLEN, || {
        Ok(opened.hot_reset(&Ownership::Groups(&[own.fd()]), &mut [0; 16])?)
    })
}

/// Resets by the iommufd that the device is bound to.
pub(crate) fn by_iommufd(world: &World, device: &Device) -> Result<String> {
    let path = CString::new(cdev(device)?)?;
    let ioas = Ioas::open(Linux)?;
    let opened = ioas.attach(&path)?;
    let seen = hot_reset::by_iommufd(&opened, on_root_bus(device))?;
    if device.name != SIBLING.0 {
        return Ok(seen);
    }
    let sibling = ioas.attach(&CString::new(cdev(world.named(SIBLING.1)?)?)?)?;
    hot_reset::cleared(&[&opened, &sibling], TDLEN, || {
        Ok(opened.hot_reset(&Ownership::Iommufd, &mut [0; 12])?)
    })
}

/// Checks that a group that is not the device's shows nothing.
pub(crate) fn of_another(world: &World) -> Result<String> {
    let device = world.named("nvme-port")?;
    let other = world.named("edu")?;
    let (container, _own, opened) = open(device)?;
    let group = container.attach(group(other)?)?;
    hot_reset::of_another(&opened, &[&group])
}

/// Writes of every width into the memory of a display.
pub(crate) fn ioeventfd(world: &World) -> Result<String> {
    let device = world.named("vga")?;
    let (_container, opened) = hardware::open(device)?;
    ioeventfd::every_width(&Linux, &opened, FREE)
}

/// Opens the device with its group.
fn open(device: &Device) -> Result<(Container<Linux>, Group<Linux>, Opened<Linux>)> {
    let container = Container::open(Linux)?;
    let group = container.attach(group(device)?)?;
    container.set_iommu(Extension::TYPE1V2_IOMMU)?;
    let opened = group.device(&CString::new(device.address())?)?;
    Ok((container, group, opened))
}

fn on_root_bus(device: &Device) -> bool {
    device.address().starts_with("0000:00:")
}
