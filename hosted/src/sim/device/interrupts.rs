//! The interrupts of a device, as vfio-pci sets and delivers them (drivers/vfio/vfio_main.c and
//! drivers/vfio/pci/vfio_pci_intrs.c of Linux).

use std::vec;
use std::vec::Vec;

use vfio_core::sys::Errno;
use vfio_core::wire::abi::{IrqSetFlags, pci_irq};
use vfio_core::wire::server::{IrqData, IrqRequest};

use super::Device;
use crate::sim::answer::Answer;
use crate::sim::signal::Signal;

/// `ERANGE`: no vectors at all were asked for.
const ERANGE: Errno = Errno(34);

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

#[derive(Clone, Default)]
struct Vector {
    trigger: Option<Signal>,
    /// An MSI-X message that waits for the vector to have a trigger.
    is_pending: bool,
}

/// The events that a request names, in its order.
pub(in crate::sim) type Signals = Vec<Result<Option<Signal>, Errno>>;

impl Device {
    /// `VFIO_DEVICE_SET_IRQS`, whose events were looked up.
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

    /// Leaves no more than so many vectors for messages.
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

    fn trigger_messages(
        &mut self,
        request: &IrqRequest<'_>,
        signals: Signals,
    ) -> Result<Answer, Errno> {
        let is_same = matches!(&self.mode, Mode::Messages { index, .. } if *index == request.index);
        if is_same && request.disables() {
            self.mode = Mode::Off;
            return Ok(Answer::Done);
        }
        if !is_same && !matches!(self.mode, Mode::Off) {
            return Err(Errno::EINVAL);
        }
        if matches!(request.data, IrqData::Events(_)) {
            if is_same {
                return self.set_block(request, signals).map(|()| Answer::Done);
            }
            return self.enable_messages(request, signals);
        }
        let Mode::Messages { vectors, .. } = &self.mode else {
            return Err(Errno::EINVAL);
        };
        let named = vectors.iter().skip(request.start).take(request.count);
        for (n, vector) in named.enumerate() {
            if request.concerns(n) {
                signal(vector.trigger.as_ref());
            }
        }
        Ok(Answer::Done)
    }

    /// Enables MSI or MSI-X, with the events of its first vectors.
    fn enable_messages(
        &mut self,
        request: &IrqRequest<'_>,
        signals: Signals,
    ) -> Result<Answer, Errno> {
        let end = request.start.saturating_add(request.count);
        if end == 0 {
            return Err(ERANGE);
        }
        if let Some(most) = self.most
            && usize::try_from(most).is_ok_and(|most| most < end)
        {
            // pci_alloc_irq_vectors, which vfio_msi_enable calls.
            return match most {
                0 => Err(Errno::ENOSPC),
                most => Ok(Answer::Only(most)),
            };
        }
        let count = if request.grows {
            request.available
        } else {
            end
        };
        self.mode = Mode::Messages {
            index: request.index,
            vectors: vec![Vector::default(); count],
        };
        let done = self.set_block(request, signals);
        if done.is_err() {
            self.mode = Mode::Off;
        }
        done.map(|()| Answer::Done)
    }

    /// Gives vectors their events; after one that can't have its own, none of the block has any.
    fn set_block(&mut self, request: &IrqRequest<'_>, signals: Signals) -> Result<(), Errno> {
        let Mode::Messages { vectors, .. } = &mut self.mode else {
            return Err(Errno::EINVAL);
        };
        let mut done = Ok(());
        let mut tried = request.start;
        for found in signals {
            done = give(vectors.get_mut(tried), found);
            tried = tried.saturating_add(1);
            if done.is_err() {
                break;
            }
        }
        if done.is_err() {
            let named = tried.saturating_sub(request.start);
            for vector in vectors.iter_mut().skip(request.start).take(named) {
                vector.trigger = None;
            }
        }
        done
    }

    pub(super) const fn uses_messages(&self) -> bool {
        matches!(self.mode, Mode::Messages { .. })
    }

    /// The device sends a message.
    pub(super) fn message(&mut self, vector: u32) {
        let Mode::Messages { index, vectors } = &mut self.mode else {
            return;
        };
        let vector = usize::try_from(vector).ok();
        let Some(vector) = vector.and_then(|vector| vectors.get_mut(vector)) else {
            return;
        };
        match &vector.trigger {
            Some(trigger) => trigger.signal(),
            // The kernel masks what has no trigger in the MSI-X table, and the device waits.
            None => vector.is_pending = *index == pci_irq::MSIX,
        }
    }

    /// The device asserts INTx, or deasserts it.
    pub(super) fn set_level(&mut self, level: bool) {
        self.level = level;
        self.deliver_level();
    }

    pub(super) const fn level(&self) -> bool {
        self.level
    }

    /// The command register was written.
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

    /// An asserted INTx that is not masked is signalled, and masked.
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

impl Vector {
    fn set(&mut self, trigger: Option<Signal>) {
        self.trigger = trigger;
        if self.trigger.is_some() && std::mem::take(&mut self.is_pending) {
            signal(self.trigger.as_ref());
        }
    }
}

/// Gives a vector its event, where there is the vector.
fn give(vector: Option<&mut Vector>, found: Result<Option<Signal>, Errno>) -> Result<(), Errno> {
    match (vector, found) {
        (Some(vector), Ok(trigger)) => {
            vector.set(trigger);
            Ok(())
        }
        // There is nothing to take away.
        (None, Ok(None)) => Ok(()),
        (None, Ok(Some(_))) => Err(Errno::EINVAL),
        (_, Err(errno)) => Err(errno),
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
