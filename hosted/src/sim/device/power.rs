//! Low power while nothing is asked of a device (drivers/vfio/pci/vfio_pci_core.c of Linux).

use vfio_core::sys::Errno;

use super::Device;
use crate::sim::signal::Signal;

/// Whether a device may sleep; one that may does as soon as nothing is asked of it.
#[derive(Default)]
pub(super) struct Power {
    is_low: bool,
    /// What is signalled when the device wakes, which then ends low power.
    wakeup: Option<Signal>,
}

impl Device {
    pub(in crate::sim) fn enter_low_power(&mut self, wakeup: Option<Signal>) -> Result<(), Errno> {
        let power = &mut self.power;
        if power.is_low {
            return Err(Errno::EINVAL);
        }
        power.is_low = true;
        power.wakeup = wakeup;
        Ok(())
    }

    pub(super) fn exit_low_power(&mut self) {
        self.power = Power::default();
    }

    /// Wakes the device, for something is asked of it.
    pub(in crate::sim) fn wake(&mut self) {
        let power = &mut self.power;
        if power.is_low
            && let Some(wakeup) = power.wakeup.take()
        {
            wakeup.signal();
            power.is_low = false;
        }
    }

    /// Tells whether it may sleep.
    pub(in crate::sim) const fn is_asleep(&self) -> bool {
        self.power.is_low
    }
}
