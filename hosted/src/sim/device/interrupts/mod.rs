//! The interrupts of a device, as vfio-pci sets and delivers them (drivers/vfio/vfio_main.c and
//! drivers/vfio/pci/vfio_pci_intrs.c of Linux).

mod messages;

use std::vec::Vec;

use vfio_core::sys::Errno;
use vfio_core::wire::abi::{IrqSetFlags, pci_irq};
use vfio_core::wire::server::{IrqData, IrqRequest};

use super::Device;
use crate::sim::answer::Answer;
use crate::sim::signal::Signal;
use messages::Vector;

/// What interrupts do.
#[derive(Default)]
pub(in crate::sim) struct Interrupts {
    mode: Mode,
    error: Option<Signal>,
    request: Option<Signal>,
    /// Whether the device asserts INTx.
    level: bool,
    /// Whether the command register turns INTx off.
    is_intx_off: bool,
    /// How many vectors the host has for messages, where it has fewer than the device.
    most: Option<u32>,
}

/// Of INTx, MSI and MSI-X one at a time is enabled.
#[derive(Default)]
enum Mode {
    #[default]
    Off,
    Intx {
        trigger: Option<Signal>,
        /// INTx is masked when it occurs, until it is unmasked.
        is_masked: bool,
        /// An event that unmasks.
        unmask: Option<Signal>,
    },
    Messages {
        /// MSI or MSI-X.
        index: u32,
        /// Those that can be used without all being disabled first.
        vectors: Vec<Vector>,
    },
}

/// The events that a request names, in its order.
pub(in crate::sim) type Signals = Vec<Result<Option<Signal>, Errno>>;

impl Device {
    /// Returns `VFIO_DEVICE_SET_IRQS`, whose events were looked up.
    pub(in crate::sim) fn set_irqs(
        &mut self,
        argument: &[u8],
        signals: Signals,
    ) -> Result<Answer, Errno> {
        let request = IrqRequest::parse(argument, &self.model.description().irqs)?;
        self.interrupts.set(&request, signals)
    }
}

impl Interrupts {
    /// Makes a request, whose events were looked up.
    fn set(&mut self, request: &IrqRequest<'_>, signals: Signals) -> Result<Answer, Errno> {
        let is = |action| request.action == action;
        match request.index {
            pci_irq::MSI | pci_irq::MSIX if is(IrqSetFlags::ACTION_TRIGGER) => {
                return self.trigger_messages(request, signals);
            }
            pci_irq::INTX if is(IrqSetFlags::ACTION_MASK) => self.mask(request),
            pci_irq::INTX if is(IrqSetFlags::ACTION_UNMASK) => self.unmask(request, signals),
            _ if !is(IrqSetFlags::ACTION_TRIGGER) => Err(Errno::ENOTTY),
            pci_irq::INTX => self.trigger_intx(request, signals),
            pci_irq::ERR => set_single(&mut self.error, request, signals),
            _ => set_single(&mut self.request, request, signals),
        }
        .map(|()| Answer::Done)
    }

    /// Leaves only this number of vectors for messages.
    pub(in crate::sim) const fn limit(&mut self, most: u32) {
        self.most = Some(most);
    }

    fn mask(&mut self, request: &IrqRequest<'_>) -> Result<(), Errno> {
        let Mode::Intx { is_masked, .. } = &mut self.mode else {
            return Err(Errno::EINVAL);
        };
        if (request.start, request.count) != (0, 1) {
            return Err(Errno::EINVAL);
        }
        if matches!(request.data, IrqData::Events(_)) {
            return Err(Errno::ENOTTY);
        }
        *is_masked |= request.concerns(0);
        Ok(())
    }

    fn unmask(&mut self, request: &IrqRequest<'_>, signals: Signals) -> Result<(), Errno> {
        let Mode::Intx { unmask, .. } = &mut self.mode else {
            return Err(Errno::EINVAL);
        };
        if (request.start, request.count) != (0, 1) {
            return Err(Errno::EINVAL);
        }
        if matches!(request.data, IrqData::Events(_)) {
            match signals.into_iter().next().unwrap_or(Ok(None))? {
                Some(_) if unmask.is_some() => return Err(Errno::EBUSY),
                signal => *unmask = signal,
            }
            self.poll_unmask();
        } else if request.concerns(0) {
            self.unmask_intx();
        }
        Ok(())
    }

    fn trigger_intx(&mut self, request: &IrqRequest<'_>, signals: Signals) -> Result<(), Errno> {
        let is_intx = matches!(self.mode, Mode::Intx { .. });
        if is_intx && request.disables() {
            self.mode = Mode::Off;
            return Ok(());
        }
        let is_other = matches!(self.mode, Mode::Messages { .. });
        if is_other || (request.start, request.count) != (0, 1) {
            return Err(Errno::EINVAL);
        }
        if matches!(request.data, IrqData::Events(_)) {
            let signal = signals.into_iter().next().unwrap_or(Ok(None))?;
            if let Mode::Intx { trigger, .. } = &mut self.mode {
                *trigger = signal;
            } else {
                self.mode = Mode::Intx {
                    trigger: signal,
                    is_masked: self.is_intx_off,
                    unmask: None,
                };
            }
            self.deliver_level();
            return Ok(());
        }
        let Mode::Intx { trigger, .. } = &self.mode else {
            return Err(Errno::EINVAL);
        };
        if request.concerns(0) && !self.is_intx_off {
            signal(trigger.as_ref());
        }
        Ok(())
    }

    pub(super) const fn uses_messages(&self) -> bool {
        matches!(self.mode, Mode::Messages { .. })
    }

    /// Asserts INTx, or deasserts it.
    pub(super) fn set_level(&mut self, level: bool) {
        self.level = level;
        self.deliver_level();
    }

    pub(super) const fn level(&self) -> bool {
        self.level
    }

    /// Takes note that the command register was written.
    pub(super) fn turn_intx(&mut self, is_off: bool) {
        if std::mem::replace(&mut self.is_intx_off, is_off) == is_off {
            return;
        }
        if is_off {
            if let Mode::Intx { is_masked, .. } = &mut self.mode {
                *is_masked = true;
            }
        } else {
            self.unmask_intx();
        }
    }

    /// Signals an asserted INTx that is not masked, and masks it.
    fn deliver_level(&mut self) {
        if let Mode::Intx {
            trigger, is_masked, ..
        } = &mut self.mode
            && self.level
            && !*is_masked
        {
            *is_masked = true;
            if !self.is_intx_off {
                signal(trigger.as_ref());
            }
        }
    }

    fn unmask_intx(&mut self) {
        if let Mode::Intx { is_masked, .. } = &mut self.mode
            && !self.is_intx_off
        {
            *is_masked = false;
            // What is still asserted occurs again at once.
            self.deliver_level();
        }
    }

    /// Unmasks INTx where the event for it was signalled.
    pub(super) fn poll_unmask(&mut self) {
        if let Mode::Intx {
            unmask: Some(unmask),
            ..
        } = &self.mode
            && unmask.take() > 0
        {
            self.unmask_intx();
        }
    }

    /// Tells of an error that can't be recovered from; whether anybody listens.
    pub(in crate::sim) fn signal_error(&self) -> bool {
        signal(self.error.as_ref())
    }

    /// Asks for the device back; whether anybody listens.
    pub(in crate::sim) fn signal_request(&self) -> bool {
        signal(self.request.as_ref())
    }

    /// Takes all of them away, as closing the device does.
    pub(super) fn close(&mut self) {
        *self = Self {
            level: self.level,
            most: self.most,
            ..Self::default()
        };
    }
}

/// Signals an event, where there is one.
fn signal(trigger: Option<&Signal>) -> bool {
    trigger.map(|trigger| trigger.signal()).is_some()
}

/// Sets the error or the request interrupt, which stand alone.
fn set_single(
    slot: &mut Option<Signal>,
    request: &IrqRequest<'_>,
    signals: Signals,
) -> Result<(), Errno> {
    if request.start != 0 || request.count > 1 {
        return Err(Errno::EINVAL);
    }
    match &request.data {
        IrqData::None if slot.is_none() => return Err(Errno::EINVAL),
        IrqData::None if request.count == 0 => *slot = None,
        _ if request.count == 0 => return Err(Errno::EINVAL),
        IrqData::Events(_) => *slot = signals.into_iter().next().unwrap_or(Ok(None))?,
        _ if request.concerns(0) => {
            signal(slot.as_ref());
        }
        _ => (),
    }
    Ok(())
}
