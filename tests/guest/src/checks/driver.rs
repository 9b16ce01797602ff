//! Does the reference driver drive the device?

use anyhow::{Result, anyhow, ensure};
use vfio_core::abi::pci_region;
use vfio_core::device::Device as Opened;
use vfio_core::dma::{AddressSpace, Dma};
use vfio_core::mmio::ReadWrite;
use vfio_core::pci::{Command, Config, DeviceConfig};
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
    let mut buffer = [0; 512];
    let mut config = Config::new(DeviceConfig::ask(device, &mut buffer)?);
    let command = config.command().map_err(|error| anyhow!("{error}"))?;
    config
        .set_command(command | Command::MASTER | Command::MEMORY)
        .map_err(|error| anyhow!("{error}"))?;
    let dma = Dma::<_, 64>::new(Linux, space)?;
    let region = device.region(pci_region::BAR0, &mut buffer)?;
    let bar0 = device.map::<ReadWrite>(&region, 0)?;
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
