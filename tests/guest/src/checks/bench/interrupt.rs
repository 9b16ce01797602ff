//! An interrupt's way round: raised, delivered, waited for.

use std::time::Duration;

use anyhow::{Result, ensure};
use vfio_core::device::irq::{Action, Data, Vectors};
use vfio_core::open::Mode;
use vfio_core::sys::Sys as _;
use vfio_core::wire::abi::{pci_irq, pci_region};
use vfio_drivers::edu::Edu;
use vfio_guest::Device;
use vfio_hosted::linux::Linux;

use super::{Figures, median, open};

/// How often each way is gone.
const RUNS: usize = 1000;

/// No interrupt takes so long.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Nanoseconds of a bare eventfd's round trip, of one through VFIO without the device, and of the device's.
pub(super) fn figures(device: &Device, mode: Mode) -> Result<String> {
    let mut figures = Figures::new();
    let event = Linux.event()?;
    let bare = median(RUNS, || {
        Linux.event_signal(&event)?;
        ensure!(Linux.events_wait(&[&event], TIMEOUT)?, "no event");
        ensure!(Linux.event_take(&event)? == 1, "not one event");
        Ok(())
    })?;
    figures.insert("eventfd, ns".into(), bare);

    let session = open(device, mode)?;
    let vectors: Vectors<_, 1> = session.device.vectors(pci_irq::MSI)?;
    let mut buffer = [0; 32];
    let triggered = median(RUNS, || {
        let data = Data::Bools(&[true]);
        let device = &session.device;
        device.set_irqs(pci_irq::MSI, 0, Action::Trigger, &data, &mut buffer)?;
        ensure!(vectors.wait(0, TIMEOUT)? == 1, "not one interrupt");
        Ok(())
    })?;
    figures.insert("triggered by software, ns".into(), triggered);

    let mut edu = Edu::new(session.device.bring_up(pci_region::BAR0)?)?;
    let raised = median(RUNS, || Ok(edu.raise(1, &vectors)?))?;
    figures.insert("raised by the device, ns".into(), raised);
    Ok(serde_json::to_string(&figures)?)
}
