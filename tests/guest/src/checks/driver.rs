//! Does the reference driver drive the device?

use anyhow::{Result, ensure};
use vfio_core::abi::pci_region;
use vfio_core::device::Device as Opened;
use vfio_core::dma::{AddressSpace, Dma};
use vfio_drivers::edu::{Outcome, exercise};
use vfio_guest::Device;
use vfio_hosted::linux::Linux;

use crate::mode::Mode;
use crate::world::World;

/// The whole reference driver of edu.
pub(crate) fn edu(_: &World, device: &Device, mode: Mode) -> Result<String> {
    let (space, opened) = mode.open(device)?;
    run(space, &opened)?;
    Ok("every step passed".into())
}

fn run(space: AddressSpace<Linux>, device: &Opened<Linux>) -> Result<()> {
    let bar0 = device.bring_up(pci_region::BAR0)?;
    let dma = Dma::<_, 64>::new(Linux, space)?;
    let report = exercise(device, bar0, &dma);
    for (step, outcome) in &report.steps {
        ensure!(*outcome == Outcome::Passed, "{}: {outcome:?}", step.name());
    }
    let left = dma.space().unmap_all();
    ensure!(
        matches!(left, Ok(0) | Err(vfio_core::sys::Errno::ENOENT)),
        "left mapped: {left:?}"
    );
    Ok(())
}
