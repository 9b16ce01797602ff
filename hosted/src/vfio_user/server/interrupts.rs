//! The interrupts of a device, which go to events of the client.

use std::os::fd::{AsFd, OwnedFd};
use std::vec;
use std::vec::Vec;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl};
use vfio_core::sys::{Errno, Sys as _};
use vfio_core::wire::abi::{IrqSetFlags, pci_irq};
use vfio_core::wire::server::{IrqData, IrqReply, IrqRequest};

use crate::linux::Linux;

/// What interrupts do, by their indexes.
#[derive(Default)]
pub(super) struct Interrupts {
    indexes: Vec<Vec<Line>>,
    /// Whether the device asserts INTx.
    level: bool,
    /// An event that unmasks INTx.
    unmask: Option<Trigger>,
}

/// One interrupt.
#[derive(Default)]
struct Line {
    trigger: Option<Trigger>,
    /// Whether the client masks it.
    is_masked: bool,
    /// Whether it waits for an event, or to be unmasked.
    is_pending: bool,
}

/// An event that is signalled.
pub(super) struct Trigger {
    event: OwnedFd,
    /// Whether a write to it can wait, as its client made it so. It is written where it would not: only a client that
    /// fills it in the same moment can make the server wait.
    waits: bool,
}

const INTX: usize = 0;

impl Interrupts {
    /// Returns the interrupts that a device has.
    pub(super) fn new(irqs: &[Option<IrqReply>]) -> Self {
        let lines = |irq: &Option<IrqReply>| {
            let count = irq.map_or(0, |irq| usize::try_from(irq.count).unwrap_or(0));
            let mut lines = vec![];
            lines.resize_with(count, Line::default);
            lines
        };
        Self {
            indexes: irqs.iter().map(lines).collect(),
            ..Self::default()
        }
    }

    /// Makes a request, whose events are `fds`.
    pub(super) fn set(&mut self, request: &IrqRequest<'_>, fds: Vec<OwnedFd>) -> Result<(), Errno> {
        let triggers: Result<Vec<_>, _> = fds.into_iter().map(Trigger::new).collect();
        let triggers = triggers?;
        let is_intx = request.index == pci_irq::INTX;
        let action = request.action;
        let has_events = matches!(request.data, IrqData::Beside { .. });
        let is_mask = action == IrqSetFlags::ACTION_MASK;
        let is_unmask = action == IrqSetFlags::ACTION_UNMASK;
        if is_unmask && has_events && is_intx {
            self.unmask = triggers.into_iter().next();
        } else if (is_mask || is_unmask) && !has_events {
            self.mask(request, is_mask)?;
        } else if action == IrqSetFlags::ACTION_TRIGGER && has_events {
            self.arm(request, triggers)?;
        } else if action == IrqSetFlags::ACTION_TRIGGER {
            self.trigger(request)?;
        } else {
            return Err(Errno::EINVAL);
        }
        self.deliver();
        Ok(())
    }

    /// Gives interrupts their events, or takes them away.
    fn arm(&mut self, request: &IrqRequest<'_>, triggers: Vec<Trigger>) -> Result<(), Errno> {
        let mut triggers = triggers.into_iter();
        for line in self.named(request)? {
            line.trigger = triggers.next();
        }
        if request.index == pci_irq::INTX {
            self.line(INTX, 0, |line| line.is_masked = false);
        }
        Ok(())
    }

    /// Signals interrupts as if the device did, or takes all of an index away.
    fn trigger(&mut self, request: &IrqRequest<'_>) -> Result<(), Errno> {
        if request.disables() {
            let index = usize::try_from(request.index).map_err(|_| Errno::EINVAL)?;
            for line in self.indexes.get_mut(index).into_iter().flatten() {
                *line = Line::default();
            }
            if index == INTX {
                self.unmask = None;
            }
            return Ok(());
        }
        for (n, line) in self.named(request)?.iter().enumerate() {
            if request.concerns(n)
                && let Some(trigger) = &line.trigger
            {
                trigger.signal();
            }
        }
        Ok(())
    }

    fn mask(&mut self, request: &IrqRequest<'_>, is_masked: bool) -> Result<(), Errno> {
        for (n, line) in self.named(request)?.iter_mut().enumerate() {
            if request.concerns(n) {
                line.is_masked = is_masked;
            }
        }
        Ok(())
    }

    fn named(&mut self, request: &IrqRequest<'_>) -> Result<&mut [Line], Errno> {
        let index = usize::try_from(request.index).map_err(|_| Errno::EINVAL)?;
        let end = request.start.saturating_add(request.count);
        let lines = self.indexes.get_mut(index);
        let lines = lines.and_then(|lines| lines.get_mut(request.start..end));
        lines.ok_or(Errno::EINVAL)
    }

    /// Tells whether interrupts of an index have events.
    pub(super) fn is_armed(&self, index: u32) -> bool {
        let index = usize::try_from(index).ok();
        let lines = index.and_then(|index| self.indexes.get(index));
        lines.is_some_and(|lines| lines.iter().any(|line| line.trigger.is_some()))
    }

    /// Sends the message of a vector; where it is masked, it waits.
    pub(super) fn send(&mut self, index: u32, vector: usize, is_masked: bool) {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        self.line(index, vector, |line| match &line.trigger {
            Some(trigger) if !line.is_masked && !is_masked => trigger.signal(),
            _ => line.is_pending = true,
        });
    }

    /// Sends the messages of an index that waited and are masked no longer, as `is_masked` tells.
    pub(super) fn send_pending(&mut self, index: u32, is_masked: impl Fn(usize) -> bool) {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let lines = self.indexes.get_mut(index).into_iter().flatten();
        for (vector, line) in lines.enumerate() {
            if let Some(trigger) = &line.trigger
                && line.is_pending
                && !line.is_masked
                && !is_masked(vector)
            {
                trigger.signal();
                line.is_pending = false;
            }
        }
    }

    /// Tells whether the message of a vector waits.
    pub(super) fn is_pending(&self, index: u32, vector: usize) -> bool {
        let index = usize::try_from(index).ok();
        let lines = index.and_then(|index| self.indexes.get(index));
        lines
            .and_then(|lines| lines.get(vector))
            .is_some_and(|line| line.is_pending)
    }

    /// Asserts INTx for the device, or deasserts it.
    pub(super) fn set_level(&mut self, level: bool, is_off: bool) {
        self.level = level;
        if !is_off {
            self.deliver();
        }
    }

    pub(super) const fn level(&self) -> bool {
        self.level
    }

    /// Signals an asserted INTx that is not masked, and masks it until the client unmasks it.
    pub(super) fn deliver(&mut self) {
        let level = self.level;
        self.line(INTX, 0, |line| {
            if let Some(trigger) = &line.trigger
                && level
                && !line.is_masked
            {
                line.is_masked = true;
                trigger.signal();
            }
        });
    }

    /// Returns the event that unmasks INTx, to be waited for.
    pub(super) const fn unmask_event(&self) -> Option<&OwnedFd> {
        match &self.unmask {
            Some(trigger) => Some(&trigger.event),
            None => None,
        }
    }

    /// Unmasks INTx, as its event was signalled.
    pub(super) fn unmask_by_event(&mut self) {
        let taken = self.unmask.as_ref().is_some_and(Trigger::take);
        if taken {
            self.line(INTX, 0, |line| line.is_masked = false);
            self.deliver();
        }
    }

    fn line(&mut self, index: usize, vector: usize, act: impl FnOnce(&mut Line)) {
        let lines = self.indexes.get_mut(index);
        if let Some(line) = lines.and_then(|lines| lines.get_mut(vector)) {
            act(line);
        }
    }
}

impl Trigger {
    /// Takes an event of a client's: nothing else, which could make the server wait.
    fn new(event: OwnedFd) -> Result<Self, Errno> {
        if !is_event(&event) {
            return Err(Errno::EINVAL);
        }
        let flags = fcntl_getfl(&event).map_err(|_| Errno::EINVAL)?;
        let waits = !flags.contains(OFlags::NONBLOCK);
        Ok(Self { event, waits })
    }

    /// Counts one more.
    fn signal(&self) {
        // One that can count no further is signalled.
        if !self.waits || self.is_ready(PollFlags::OUT) {
            let _ = Linux.event_signal(&self.event);
        }
    }

    /// Takes what was counted; tells whether anything was.
    fn take(&self) -> bool {
        self.is_ready(PollFlags::IN) && Linux.event_take(&self.event).is_ok_and(|count| count > 0)
    }

    fn is_ready(&self, flags: PollFlags) -> bool {
        let mut fds = [PollFd::new(&self.event, flags)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
    }
}

/// Tells whether a file is an eventfd.
fn is_event(file: &OwnedFd) -> bool {
    use std::os::fd::AsRawFd as _;
    let number = file.as_fd().as_raw_fd();
    let link = std::fs::read_link(std::format!("/proc/self/fd/{number}"));
    link.is_ok_and(|link| link.as_os_str() == "anon_inode:[eventfd]")
}
