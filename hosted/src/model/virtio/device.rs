//! What all virtio devices have in common: their registers, and how they take requests.

use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use super::control::{VirtioControl, VirtioFault};
use super::queue::{Broken, Chain, Queue};
use crate::model::{Bus, Registers};

/// What a device of some type does.
pub(super) trait Kind: Send {
    /// The features that it offers besides those of all devices.
    fn features(&self) -> u64;

    /// How many virtqueues there are.
    fn queues(&self) -> u16;

    /// Its configuration.
    fn config(&self) -> Vec<u8>;

    /// Whether requests of a queue wait until there is something for them.
    fn waits(&self, queue: u16, features: u64) -> bool;

    /// Takes a request, and returns how many bytes were written into it.
    fn take(&mut self, request: &Request<'_>, bus: &mut Bus<'_>) -> Result<u32, Broken>;

    /// What is to be put into requests of a queue that wait, in as many as it takes.
    fn next_for(&mut self, queue: u16, features: u64) -> Option<Incoming> {
        let _ = (queue, features);
        None
    }

    /// Whether the configuration changed since it was last asked.
    fn has_changed(&mut self) -> bool;

    /// It was reset.
    fn reset(&mut self);
}

/// A request that is taken.
pub(super) struct Request<'c> {
    pub(super) queue: u16,
    pub(super) chain: &'c Chain,
    /// What device and driver agreed on.
    pub(super) features: u64,
}

/// What is put into requests that wait: a header of 12 bytes and a frame.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    pub(super) bytes: Vec<u8>,
    /// Whether it may be in several requests.
    pub(super) is_merged: bool,
}

/// A virtio device on PCI.
pub(super) struct Device {
    control: VirtioControl,
    kind: Box<dyn Kind>,
    /// Features that are not offered.
    without: u64,
    most_entries: u16,
    device_feature_select: u32,
    driver_feature_select: u32,
    accepted: u64,
    config_vector: u16,
    status: u8,
    generation: u8,
    select: u16,
    queues: Vec<Queue>,
    /// Requests that wait for something to be put into them.
    waiting: Vec<Vec<Chain>>,
    /// Requests that are never used.
    hanging: Vec<Chain>,
    isr: u8,
    /// It was told to become reset, and does not.
    is_defiant: bool,
}

/// Where the structures are in BAR 4, as QEMU has them.
pub(super) mod place {
    pub(crate) const COMMON: u64 = 0;
    pub(crate) const ISR: u64 = 0x1000;
    pub(crate) const DEVICE: u64 = 0x2000;
    pub(crate) const NOTIFY: u64 = 0x3000;
    /// Bytes of each.
    pub(crate) const LEN: u64 = 0x1000;
    /// How far doorbells are apart.
    pub(crate) const MULTIPLIER: u32 = 4;
}

const EVENT_IDX: u64 = 1 << 29;
const INDIRECT_DESC: u64 = 1 << 28;
const VERSION_1: u64 = 1 << 32;
const ACCESS_PLATFORM: u64 = 1 << 33;
/// What all devices offer.
const COMMON: u64 = EVENT_IDX | INDIRECT_DESC | VERSION_1 | ACCESS_PLATFORM;

const DRIVER_OK: u8 = 4;
const FEATURES_OK: u8 = 8;
const NEEDS_RESET: u8 = 64;
const FAILED: u8 = 128;
const NO_VECTOR: u16 = 0xffff;

impl Device {
    pub(super) fn new(kind: impl Kind + 'static, control: VirtioControl, options: Options) -> Self {
        let mut device = Self {
            control,
            kind: Box::new(kind),
            without: options.without,
            most_entries: options.entries,
            device_feature_select: 0,
            driver_feature_select: 0,
            accepted: 0,
            config_vector: NO_VECTOR,
            status: 0,
            generation: 0,
            select: 0,
            queues: vec![],
            waiting: vec![],
            hanging: vec![],
            isr: 0,
            is_defiant: false,
        };
        device.forget();
        device
    }

    const fn is_running(&self) -> bool {
        self.status & (DRIVER_OK | NEEDS_RESET) == DRIVER_OK
    }

    fn offered(&self) -> u64 {
        (COMMON | self.kind.features()) & !self.without
    }

    /// Is as after power-on.
    fn forget(&mut self) {
        let queue = Queue::new(self.most_entries, NO_VECTOR);
        let count = usize::from(self.kind.queues());
        self.queues = vec![queue; count];
        self.waiting = vec![vec![]; count];
        self.hanging.clear();
        (self.status, self.accepted, self.isr) = (0, 0, 0);
        self.config_vector = NO_VECTOR;
        self.is_defiant = false;
        self.kind.reset();
    }

    /// A byte of the registers.
    fn byte(&mut self, at: u64) -> u8 {
        let said = self.control.lock().said.get(&at).copied();
        if let Some(said) = said {
            return said;
        }
        let of = |bytes: &[u8], start: u64| {
            let index = usize::try_from(at - start).unwrap_or(usize::MAX);
            bytes.get(index).copied().unwrap_or(0)
        };
        match at {
            ..place::ISR => of(&self.common(), place::COMMON),
            place::ISR => std::mem::take(&mut self.isr),
            place::DEVICE..place::NOTIFY => of(&self.kind.config(), place::DEVICE),
            _ => 0,
        }
    }

    /// The common configuration, as it reads.
    fn common(&mut self) -> Vec<u8> {
        if self.control.lock().is_unsteady {
            self.generation = self.generation.wrapping_add(1);
        }
        let half = |value: u64, select: u32| {
            let value = match select {
                0 => value,
                1 => value >> 32,
                _ => 0,
            };
            value.to_le_bytes()[..4].to_vec()
        };
        let none = Queue::default();
        let queue = self.queues.get(usize::from(self.select)).unwrap_or(&none);
        [
            self.device_feature_select.to_le_bytes().to_vec(),
            half(self.offered(), self.device_feature_select),
            self.driver_feature_select.to_le_bytes().to_vec(),
            half(self.accepted, self.driver_feature_select),
            self.config_vector.to_le_bytes().to_vec(),
            self.kind.queues().to_le_bytes().to_vec(),
            vec![self.status, self.generation],
            self.select.to_le_bytes().to_vec(),
            queue.size.to_le_bytes().to_vec(),
            queue.vector.to_le_bytes().to_vec(),
            u16::from(queue.is_enabled).to_le_bytes().to_vec(),
            self.select.to_le_bytes().to_vec(),
            queue.desc.to_le_bytes().to_vec(),
            queue.driver.to_le_bytes().to_vec(),
            queue.device.to_le_bytes().to_vec(),
        ]
        .concat()
    }

    /// Writes a register of the common configuration.
    fn set_common(&mut self, at: u64, value: u32, bus: &mut Bus<'_>) {
        let [a, b, ..] = value.to_le_bytes();
        let word = u16::from_le_bytes([a, b]);
        match at {
            0x00 => self.device_feature_select = value,
            0x08 => self.driver_feature_select = value,
            0x0c => self.accept(value),
            0x10 => self.config_vector = known(word),
            0x14 => self.set_status(a, bus),
            0x16 => self.select = word,
            0x18.. => self.set_queue(at, value, word),
            _ => (),
        }
    }

    fn accept(&mut self, value: u32) {
        match self.driver_feature_select {
            0 => self.accepted = self.accepted >> 32 << 32 | u64::from(value),
            1 => self.accepted = self.accepted & 0xffff_ffff | u64::from(value) << 32,
            _ => (),
        }
    }

    fn set_queue(&mut self, at: u64, value: u32, word: u16) {
        let Some(queue) = self.queues.get_mut(usize::from(self.select)) else {
            return;
        };
        if queue.is_enabled {
            return;
        }
        let half = |old: u64| {
            let value = u64::from(value);
            if at & 4 == 0 {
                old >> 32 << 32 | value
            } else {
                old & 0xffff_ffff | value << 32
            }
        };
        match at {
            0x18 if word.is_power_of_two() && word <= self.most_entries => queue.size = word,
            0x1a => queue.vector = known(word),
            0x1c => queue.is_enabled = word == 1,
            0x20 | 0x24 => queue.desc = half(queue.desc),
            0x28 | 0x2c => queue.driver = half(queue.driver),
            0x30 | 0x34 => queue.device = half(queue.device),
            _ => (),
        }
    }

    fn set_status(&mut self, status: u8, bus: &mut Bus<'_>) {
        if status == 0 {
            if self.control.lock().never_resets {
                self.is_defiant = true;
            } else {
                self.forget();
                bus.set_intx(false);
            }
            return;
        }
        if status & FAILED != 0 && self.status & FAILED == 0 {
            self.control.lock().counts.failed += 1;
        }
        let mut status = status | self.status & NEEDS_RESET;
        let is_known = self.accepted & !self.offered() == 0 && self.accepted & VERSION_1 != 0;
        if status & FEATURES_OK != 0 && !is_known {
            status &= !FEATURES_OK;
        }
        self.status = status;
        if self.is_running() {
            self.take_all(bus);
        }
    }

    /// Takes requests from all virtqueues.
    fn take_all(&mut self, bus: &mut Bus<'_>) {
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
    fn deliver(&mut self, number: u16, bus: &mut Bus<'_>) -> Result<(), Broken> {
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

    fn interrupt(&mut self, vector: u16, cause: u8, bus: &mut Bus<'_>) {
        if bus.uses_messages() {
            if vector != NO_VECTOR {
                self.control.lock().counts.interrupts += 1;
                // A fault is kept by the bus.
                let _ = bus.send_message(vector.into());
            }
        } else {
            self.isr |= cause;
            self.control.lock().counts.interrupts += 1;
            bus.set_intx(true);
        }
    }

    /// Says that it can't go on.
    fn break_down(&mut self, bus: &mut Bus<'_>) {
        self.status |= NEEDS_RESET;
        self.change(bus);
    }

    /// Tells of a change of the configuration.
    fn change(&mut self, bus: &mut Bus<'_>) {
        self.generation = self.generation.wrapping_add(1);
        if self.status & DRIVER_OK != 0 {
            self.interrupt(self.config_vector, 2, bus);
        }
    }

    fn notify(&mut self, at: u64, bus: &mut Bus<'_>) {
        self.control.lock().counts.notifications += 1;
        let number = at / u64::from(place::MULTIPLIER);
        if let Ok(number) = u16::try_from(number) {
            self.attend(number, bus);
        }
    }
}

/// How a device is built.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    /// Features that are not offered.
    pub(super) without: u64,
    /// Entries that a virtqueue can have.
    pub(super) entries: u16,
}

/// How many vectors its MSI-X table has.
pub(super) const VECTORS: u16 = 9;

/// A vector that there is, or none.
const fn known(vector: u16) -> u16 {
    if vector < VECTORS { vector } else { NO_VECTOR }
}

impl Registers for Device {
    fn read(&mut self, region: u32, offset: u64, data: &mut [u8], bus: &mut Bus<'_>) {
        if region != 4 || self.control.lock().is_gone {
            data.fill(if region == 4 { 0xff } else { 0 });
            return;
        }
        for (at, byte) in (offset..).zip(data) {
            *byte = self.byte(at);
        }
        if offset == place::ISR && !bus.uses_messages() {
            bus.set_intx(false);
        }
    }

    fn write(&mut self, region: u32, offset: u64, data: &[u8], bus: &mut Bus<'_>) {
        if region != 4 || self.control.lock().is_gone {
            return;
        }
        let mut bytes = [0; 4];
        if data.len() > bytes.len() {
            // A driver writes halves.
            return;
        }
        bytes[..data.len()].copy_from_slice(data);
        let value = u32::from_le_bytes(bytes);
        match offset {
            ..place::ISR => self.set_common(offset, value, bus),
            place::NOTIFY.. => self.notify(offset - place::NOTIFY, bus),
            _ => (),
        }
    }

    fn advance(&mut self, bus: &mut Bus<'_>) -> bool {
        if self.control.lock().is_gone {
            return false;
        }
        if std::mem::take(&mut self.control.lock().needs_reset) {
            self.break_down(bus);
        }
        let waiting = self.waiting.iter().flatten();
        let waiting = waiting.filter(|_| self.is_defiant);
        for chain in self.hanging.iter().chain(waiting) {
            chain.scribble(bus);
        }
        if self.kind.has_changed() {
            self.change(bus);
        }
        if self.is_running() {
            for number in 0..self.kind.queues() {
                let is_waiting = |waiting: &Vec<Chain>| !waiting.is_empty();
                if self
                    .waiting
                    .get(usize::from(number))
                    .is_some_and(is_waiting)
                    && self.deliver(number, bus).is_err()
                {
                    self.break_down(bus);
                }
            }
        }
        false
    }

    fn reset(&mut self, bus: &mut Bus<'_>) {
        let is_immune = {
            let control = self.control.lock();
            control.ignores_reset || control.is_gone
        };
        if !is_immune {
            self.forget();
            bus.set_intx(false);
        }
    }
}
