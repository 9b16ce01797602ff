//! What the controller tells of its own accord.

use core::time::Duration;

use vfio_core::device::DeviceHandle;
use vfio_core::sys::Sys as _;
use vfio_drivers::nvme::{ControllerHandle, EventKind, NvmeError};

use super::{Done, Outcome, SOON};

/// Lets it warn of a temperature that it already has.
pub(super) fn event<D: DeviceHandle, C: ControllerHandle>(device: &D, controller: &C) -> Done<C> {
    let now = || -> Done<C, Duration> { Ok(device.sys().now().map_err(NvmeError::Clock)?) };
    let before = controller.temperature_threshold()?;
    let temperature = controller.health()?.temperature;
    controller.enable_events()?;
    controller.set_temperature_threshold(temperature.saturating_sub(1))?;
    let deadline = now()?.saturating_add(SOON);
    let event = loop {
        match controller.next_event()? {
            Some(event) if event.kind == EventKind::Health => break Some(event),
            _ if now()? > deadline => break None,
            _ => core::hint::spin_loop(),
        }
    };
    controller.set_temperature_threshold(before)?;
    // Reading the log lets further events come.
    controller.health()?;
    match event {
        Some(_) => Ok(()),
        None => Err(Outcome::Wrong {
            expected: 1,
            got: 0,
        }),
    }
}
