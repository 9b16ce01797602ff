//! The interrupts of a device, as vfio-pci sets and delivers them (drivers/vfio/vfio_main.c and
//! drivers/vfio/pci/vfio_pci_intrs.c of Linux).

use std::vec;
use std::vec::Vec;

use vfio_core::abi::{IrqFlags, IrqSet, IrqSetFlags, pci_irq};
use vfio_core::server::Irq;
use vfio_core::sys::Errno;
use zerocopy::FromBytes;

use super::event::Signal;

/// `ERANGE`: no vectors at all were asked for.
const ERANGE: Errno = Errno(34);

/// What interrupts do.
#[derive(Default)]
pub(super) struct Interrupts {
    mode: Mode,
    error: Option<Signal>,
    request: Option<Signal>,
    /// Whether the device asserts INTx.
    level: bool,
    /// Whether the command register turns INTx off.
    is_intx_off: bool,
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

/// A request, checked as far as it does not depend on what is enabled.
pub(super) struct Request {
    index: u32,
    start: usize,
    count: usize,
    action: IrqSetFlags,
    data: Data,
    /// How many interrupts the index has.
    available: usize,
    /// Whether more can be enabled later.
    grows: bool,
}

/// To which interrupts it happens.
enum Data {
    None,
    Bools(Vec<bool>),
    Numbers(Vec<i32>),
}

/// Events in the order of a request; none for a negative number.
type Signals = Vec<Result<Option<Signal>, Errno>>;

impl Request {
    /// Reads the argument of `VFIO_DEVICE_SET_IRQS`.
    pub(super) fn parse(argument: &[u8], irqs: &[Option<Irq>]) -> Result<Self, Errno> {
        let (head, data) = IrqSet::read_from_prefix(argument).map_err(|_| Errno::EINVAL)?;
        let known = IrqSetFlags::DATA_TYPE_MASK | IrqSetFlags::ACTION_TYPE_MASK;
        let is_refused = head.index >= pci_irq::NUM
            || head.count >= u32::MAX.saturating_sub(head.start)
            || head.flags.intersects(!known);
        if is_refused {
            return Err(Errno::EINVAL);
        }
        let index = usize::try_from(head.index).map_err(|_| Errno::EINVAL)?;
        let irq = irqs.get(index).copied().flatten().ok_or(Errno::EINVAL)?;
        let end = head.start.saturating_add(head.count);
        if head.start >= irq.count || end > irq.count {
            return Err(Errno::EINVAL);
        }
        let to_usize = |number| usize::try_from(number).map_err(|_| Errno::EINVAL);
        let count = to_usize(head.count)?;
        let kind = head.flags & IrqSetFlags::DATA_TYPE_MASK;
        let data = if kind == IrqSetFlags::DATA_NONE {
            Data::None
        } else if kind == IrqSetFlags::DATA_BOOL {
            let bools = data.get(..count).ok_or(Errno::EINVAL)?;
            Data::Bools(bools.iter().map(|byte| *byte != 0).collect())
        } else if kind == IrqSetFlags::DATA_EVENTFD {
            let (numbers, _) = data.as_chunks::<4>();
            let numbers = numbers.get(..count).ok_or(Errno::EINVAL)?;
            let number = |bytes: &[u8; 4]| i32::from_ne_bytes(*bytes);
            Data::Numbers(numbers.iter().map(number).collect())
        } else {
            return Err(Errno::EINVAL);
        };
        Ok(Self {
            index: head.index,
            start: to_usize(head.start)?,
            count,
            action: head.flags & IrqSetFlags::ACTION_TYPE_MASK,
            data,
            available: to_usize(irq.count)?,
            grows: !irq.flags.contains(IrqFlags::NORESIZE),
        })
    }

    /// The events that it names, looked up.
    pub(super) fn signals(&self, mut look_up: impl FnMut(i32) -> Result<Signal, Errno>) -> Signals {
        let Data::Numbers(numbers) = &self.data else {
            return Vec::new();
        };
        let look_up = |number: &i32| {
            if *number < 0 {
                Ok(None)
            } else {
                look_up(*number).map(Some)
            }
        };
        numbers.iter().map(look_up).collect()
    }

    /// Whether it happens to the first of its interrupts.
    fn is_for_first(&self) -> bool {
        match &self.data {
            Data::None => true,
            Data::Bools(bools) => bools.first().copied().unwrap_or(false),
            Data::Numbers(_) => false,
        }
    }

    /// Whether it takes all interrupts of its index away.
    const fn disables(&self) -> bool {
        self.count == 0 && matches!(self.data, Data::None)
    }
}

impl Interrupts {
    /// Makes a request, whose events were looked up.
    pub(super) fn set(&mut self, request: &Request, signals: Signals) -> Result<(), Errno> {
        let is = |action| request.action == action;
        match request.index {
            pci_irq::INTX if is(IrqSetFlags::ACTION_MASK) => self.mask(request),
            pci_irq::INTX if is(IrqSetFlags::ACTION_UNMASK) => self.unmask(request, signals),
            _ if !is(IrqSetFlags::ACTION_TRIGGER) => Err(Errno::ENOTTY),
            pci_irq::INTX => self.trigger_intx(request, signals),
            pci_irq::MSI | pci_irq::MSIX => self.trigger_messages(request, signals),
            pci_irq::ERR => set_single(&mut self.error, request, signals),
            _ => set_single(&mut self.request, request, signals),
        }
    }

    fn mask(&mut self, request: &Request) -> Result<(), Errno> {
        let Mode::Intx { is_masked, .. } = &mut self.mode else {
            return Err(Errno::EINVAL);
        };
        if (request.start, request.count) != (0, 1) {
            return Err(Errno::EINVAL);
        }
        if matches!(request.data, Data::Numbers(_)) {
            return Err(Errno::ENOTTY);
        }
        *is_masked |= request.is_for_first();
        Ok(())
    }

    fn unmask(&mut self, request: &Request, signals: Signals) -> Result<(), Errno> {
        let Mode::Intx { unmask, .. } = &mut self.mode else {
            return Err(Errno::EINVAL);
        };
        if (request.start, request.count) != (0, 1) {
            return Err(Errno::EINVAL);
        }
        if matches!(request.data, Data::Numbers(_)) {
            match signals.into_iter().next().unwrap_or(Ok(None))? {
                Some(_) if unmask.is_some() => return Err(Errno::EBUSY),
                signal => *unmask = signal,
            }
            self.poll_unmask();
        } else if request.is_for_first() {
            self.unmask_intx();
        }
        Ok(())
    }

    fn trigger_intx(&mut self, request: &Request, signals: Signals) -> Result<(), Errno> {
        let is_intx = matches!(self.mode, Mode::Intx { .. });
        if is_intx && request.disables() {
            self.mode = Mode::Off;
            return Ok(());
        }
        let is_other = matches!(self.mode, Mode::Messages { .. });
        if is_other || (request.start, request.count) != (0, 1) {
            return Err(Errno::EINVAL);
        }
        if matches!(request.data, Data::Numbers(_)) {
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
        if request.is_for_first() && !self.is_intx_off {
            signal(trigger.as_ref());
        }
        Ok(())
    }

    fn trigger_messages(&mut self, request: &Request, signals: Signals) -> Result<(), Errno> {
        let is_same = matches!(&self.mode, Mode::Messages { index, .. } if *index == request.index);
        if is_same && request.disables() {
            self.mode = Mode::Off;
            return Ok(());
        }
        if !is_same && !matches!(self.mode, Mode::Off) {
            return Err(Errno::EINVAL);
        }
        let end = request.start.saturating_add(request.count);
        if matches!(request.data, Data::Numbers(_)) {
            if is_same {
                return self.set_block(request, signals);
            }
            if end == 0 {
                return Err(ERANGE);
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
            return done;
        }
        let Mode::Messages { vectors, .. } = &self.mode else {
            return Err(Errno::EINVAL);
        };
        let named = vectors.iter().skip(request.start).take(request.count);
        for (n, vector) in named.enumerate() {
            let is_meant = match &request.data {
                Data::Bools(bools) => bools.get(n).copied().unwrap_or(false),
                _ => true,
            };
            if is_meant {
                signal(vector.trigger.as_ref());
            }
        }
        Ok(())
    }

    /// Gives vectors their events; after one that can't have its own, none of the block has any.
    fn set_block(&mut self, request: &Request, signals: Signals) -> Result<(), Errno> {
        let Mode::Messages { vectors, .. } = &mut self.mode else {
            return Err(Errno::EINVAL);
        };
        let mut done = Ok(());
        let mut tried = request.start;
        for found in signals {
            let vector = vectors.get_mut(tried);
            tried = tried.saturating_add(1);
            done = match (vector, found) {
                (Some(vector), Ok(trigger)) => {
                    vector.set(trigger);
                    Ok(())
                }
                // There is nothing to take away.
                (None, Ok(None)) => Ok(()),
                (None, Ok(Some(_))) => Err(Errno::EINVAL),
                (vector, Err(errno)) => {
                    if let Some(vector) = vector {
                        vector.trigger = None;
                    }
                    Err(errno)
                }
            };
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
    pub(super) fn signal_error(&self) -> bool {
        signal(self.error.as_ref())
    }

    /// Asks for the device back; whether anybody listens.
    pub(super) fn signal_request(&self) -> bool {
        signal(self.request.as_ref())
    }

    /// Takes all of them away, as closing the device does.
    pub(super) fn close(&mut self) {
        *self = Self {
            level: self.level,
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

/// Signals an event, where there is one.
fn signal(trigger: Option<&Signal>) -> bool {
    trigger.map(|trigger| trigger.signal()).is_some()
}

/// Sets the error or the request interrupt, which stand alone.
fn set_single(slot: &mut Option<Signal>, request: &Request, signals: Signals) -> Result<(), Errno> {
    if request.start != 0 || request.count > 1 {
        return Err(Errno::EINVAL);
    }
    match &request.data {
        Data::None if slot.is_none() => return Err(Errno::EINVAL),
        Data::None if request.count == 0 => *slot = None,
        _ if request.count == 0 => return Err(Errno::EINVAL),
        Data::Numbers(numbers) => {
            let named = signals.into_iter().next().unwrap_or(Ok(None))?;
            // Of the numbers below 0 only -1 says anything.
            if named.is_some() || numbers.first() == Some(&-1) {
                *slot = named;
            }
        }
        _ if request.is_for_first() => {
            signal(slot.as_ref());
        }
        _ => (),
    }
    Ok(())
}
