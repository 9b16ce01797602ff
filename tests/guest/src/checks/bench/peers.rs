//! The same with other crates, in the one mode that all of them have.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use pci_driver::backends::vfio::VfioPciDevice;
use pci_driver::device::PciDevice as _;
use pci_driver::regions::{MappedOwningPciRegion, PciRegion as _, Permissions};
use vfio_core::open::Mode;
use vfio_guest::Device;
use vfio_ioctls::{VfioContainer, VfioDevice};

use super::register::{BATCH, RUNS};
use super::{Figures, median};

/// The mode that all of them have.
pub(super) const MODE: Mode = Mode::Type1v2;

/// Opens a device with `pci-driver`, and maps its BAR 0.
///
/// # Errors
///
/// It can't be opened or mapped.
pub(super) fn open_pci_driver(sysfs: &str) -> Result<(VfioPciDevice, MappedOwningPciRegion)> {
    let device = VfioPciDevice::open(sysfs)?;
    let bar0 = device.bar(0).context("no BAR 0")?;
    let mapped = bar0.map(.., Permissions::ReadWrite)?;
    Ok((device, mapped))
}

/// Opens a device with `vfio-ioctls`, which maps no BARs.
///
/// # Errors
///
/// It can't be opened.
pub(super) fn open_vfio_ioctls(sysfs: &str) -> Result<VfioDevice> {
    let container = VfioContainer::new(None).map_err(|error| anyhow!("{error}"))?;
    VfioDevice::new(Path::new(sysfs), Arc::new(container), false)
        .map_err(|error| anyhow!("{error}"))
}

/// Adds the nanoseconds that a read takes.
///
/// # Errors
///
/// The device can't be opened, or a register not be read.
pub(super) fn registers(device: &Device, figures: &mut Figures) -> Result<()> {
    let mut add = |name: &str, each: f64| {
        figures.insert(format!("{name}, ns"), each / f64::from(BATCH));
    };
    let (opened, mapped) = open_pci_driver(&device.sysfs())?;
    let bar0 = opened.bar(0).context("no BAR 0")?;
    opened
        .config()
        .command()
        .memory_space_enable()
        .write(true)?;
    let each = median(RUNS, || {
        for _ in 0..BATCH {
            black_box(mapped.read_le_u32(0)?);
        }
        Ok(())
    })?;
    add("mapped read by pci-driver", each);
    let each = median(RUNS, || {
        for _ in 0..BATCH {
            black_box(bar0.read_le_u32(0)?);
        }
        Ok(())
    })?;
    add("trapped read by pci-driver", each);
    drop((mapped, bar0, opened));

    let opened = open_vfio_ioctls(&device.sysfs())?;
    // Memory decoding on: the command register of config space.
    opened.region_write(7, &[2, 0], 4);
    let each = median(RUNS, || {
        for _ in 0..BATCH {
            let mut raw = [0; 4];
            opened.region_read(0, &mut raw, 0);
            black_box(raw);
        }
        Ok(())
    })?;
    add("trapped read by vfio-ioctls", each);
    Ok(())
}
