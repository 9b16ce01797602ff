//! How a device takes requests, and puts into them what comes.

use std::vec::Vec;

use super::super::control::VirtioFault;
use super::super::queue::{Broken, Chain, Queue};
use super::{Device, EVENT_IDX, Incoming, Request, place};
use crate::model::Bus;

impl Device {
    /// Takes requests from all virtqueues.
    pub(super) fn take_all(&mut self, bus: &mut Bus<'_>) {
        for queue in 0..self.kind.queues() {
            self.attend(queue, bus);
        }
    }

    /// Takes the requests of a virtqueue. A driver that a strict device does not understand is
    /// told that it needs a reset.
    fn attend(&mut self, number: u16, bus: &mut Bus<'_>) {
        let is_enabled = |queue: &Queue| queue.is_enabled;
        let is_enabled = self.queues.get(usize::from(number)).is_some_and(is_enabled);
        if !self.is_running() || !is_enabled {
            return;
        }
        if self.take(number, bus).is_err() {
            self.break_down(bus);
        }
    }

    fn take(&mut self, number: u16, bus: &mut Bus<'_>) -> Result<(), Broken> {
        loop {
            self.take_offered(number, bus)?;
            self.deliver(number, bus)?;
            let event = self.control.lock().event;
            let has_event_idx = self.accepted & EVENT_IDX != 0;
            let queue = self.queue(number)?;
            if has_event_idx {
                queue.ask(event, bus)?;
            }
            // What was offered before it asked is looked for once more.
            if !self.is_running() || !self.queue(number)?.has_more(bus)? {
                return Ok(());
            }
        }
    }

    fn queue(&mut self, number: u16) -> Result<&mut Queue, Broken> {
        self.queues.get_mut(usize::from(number)).ok_or(Broken)
    }

    /// Takes what is offered in a virtqueue, and uses what need not wait.
    fn take_offered(&mut self, number: u16, bus: &mut Bus<'_>) -> Result<(), Broken> {
        let old = self.queue(number)?.used();
        let mut is_lost = false;
        while let Some(mut chain) = self.queue(number)?.next(bus)? {
            self.control.lock().counts.requests += 1;
            if self.kind.waits(number, self.accepted) {
                self.wait(number, chain);
                continue;
            }
            chain.fault = self.control.lock().fault(number);
            match chain.fault {
                Some(VirtioFault::Hang) => {
                    self.control.lock().counts.hung += 1;
                    self.hanging.push(chain);
                }
                Some(VirtioFault::NeedsReset) => return Err(Broken),
                Some(VirtioFault::Gone) => {
                    self.control.lock().is_gone = true;
                    return Ok(());
                }
                _ => {
                    is_lost |= chain.fault == Some(VirtioFault::NoInterrupt);
                    let request = Request {
                        queue: number,
                        chain: &chain,
                        features: self.accepted,
                    };
                    let len = self.kind.take(&request, bus)?;
                    if let Some(VirtioFault::Status(status)) = chain.fault {
                        let last = chain.room().checked_sub(1).ok_or(Broken)?;
                        chain.write(last, &[status], bus)?;
                    }
                    self.queue(number)?.put(&chain, len, bus)?;
                }
            }
        }
        self.publish(number, old, is_lost, bus)
    }

    fn wait(&mut self, number: u16, chain: Chain) {
        if let Some(waiting) = self.waiting.get_mut(usize::from(number)) {
            waiting.push(chain);
        }
    }

    /// Puts what comes into requests that wait.
    pub(super) fn deliver(&mut self, number: u16, bus: &mut Bus<'_>) -> Result<(), Broken> {
        let features = self.accepted;
        loop {
            let waiting = self.waiting.get_mut(usize::from(number)).ok_or(Broken)?;
            if waiting.is_empty() {
                return Ok(());
            }
            let Some(incoming) = self.kind.next_for(number, features) else {
                return Ok(());
            };
            let (mut room, mut count) = (0, 0);
            for chain in waiting.iter() {
                if room >= incoming.bytes.len() {
                    break;
                }
                room += chain.room();
                count += 1;
            }
            if room < incoming.bytes.len() || count > 1 && !incoming.is_merged {
                // There is no room for it: it is lost.
                continue;
            }
            let chains: Vec<_> = waiting.drain(..count).collect();
            self.fill(number, &chains, incoming, bus)?;
        }
    }

    /// Fills requests with what comes.
    fn fill(
        &mut self,
        number: u16,
        chains: &[Chain],
        incoming: Incoming,
        bus: &mut Bus<'_>,
    ) -> Result<(), Broken> {
        let Incoming { mut bytes, .. } = incoming;
        let fault = self.control.lock().fault(number);
        let count = u16::try_from(chains.len()).map_err(|_| Broken)?;
        bytes[10..12].copy_from_slice(&count.to_le_bytes());
        match fault {
            Some(VirtioFault::Header(header)) => bytes[..12].copy_from_slice(&header),
            Some(VirtioFault::NeedsReset) => return Err(Broken),
            Some(VirtioFault::Gone) => {
                self.control.lock().is_gone = true;
                return Ok(());
            }
            _ => (),
        }
        let old = self.queue(number)?.used();
        let mut rest = &bytes[..];
        for chain in chains {
            let done = chain.write(0, rest, bus)?;
            rest = &rest[done..];
            let chain = Chain {
                fault,
                ..chain.clone()
            };
            let len = u32::try_from(done).map_err(|_| Broken)?;
            self.queue(number)?.put(&chain, len, bus)?;
        }
        let is_lost = fault == Some(VirtioFault::NoInterrupt);
        self.publish(number, old, is_lost, bus)
    }

    /// Lets the driver see what was used, and interrupts where it wants that.
    fn publish(
        &mut self,
        number: u16,
        old: u16,
        is_lost: bool,
        bus: &mut Bus<'_>,
    ) -> Result<(), Broken> {
        let flags = self.control.lock().used_flags;
        let has_event_idx = self.accepted & EVENT_IDX != 0;
        let queue = self.queue(number)?;
        let vector = queue.vector;
        if queue.publish(old, has_event_idx, flags, bus)? && !is_lost {
            self.interrupt(vector, 1, bus);
        }
        Ok(())
    }

    pub(super) fn notify(&mut self, at: u64, bus: &mut Bus<'_>) {
        self.control.lock().counts.notifications += 1;
        let number = at / u64::from(place::MULTIPLIER);
        if let Ok(number) = u16::try_from(number) {
            self.attend(number, bus);
        }
    }
}
