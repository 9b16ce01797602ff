//! Registers, mapped and trapped.

use std::hint::black_box;

use anyhow::Result;
use vfio_core::mmio::{CanReadWrite, Window};
use vfio_core::open::Mode;
use vfio_core::wire::abi::pci_region;
use vfio_guest::Device;

use super::{Figures, median, open, peers};

/// How many reads are timed at once.
pub(super) const BATCH: u32 = 100;

/// How often that is done.
pub(super) const RUNS: usize = 200;

/// Nanoseconds that a read takes.
pub(super) fn figures(device: &Device, mode: Mode) -> Result<String> {
    let session = open(device, mode)?;
    let mut mapped_window = session.device.bring_up(pci_region::BAR0)?;
    let mut reply = [0; 256];
    let bar0 = session.device.region(pci_region::BAR0, &mut reply)?;
    let mut trapped_window: Window<_, CanReadWrite> = session.device.trap(&bar0)?;
    let mut figures = Figures::new();
    let mapped = median(RUNS, || {
        for _ in 0..BATCH {
            black_box(mapped_window.read::<u32>(0)?);
        }
        Ok(())
    })?;
    figures.insert("mapped read, ns".into(), mapped / f64::from(BATCH));
    let trapped = median(RUNS, || {
        for _ in 0..BATCH {
            black_box(trapped_window.read::<u32>(0)?);
        }
        Ok(())
    })?;
    figures.insert("trapped read, ns".into(), trapped / f64::from(BATCH));
    drop((mapped_window, trapped_window));
    drop(session);
    if mode == peers::MODE {
        peers::registers(device, &mut figures)?;
    }
    Ok(serde_json::to_string(&figures)?)
}
