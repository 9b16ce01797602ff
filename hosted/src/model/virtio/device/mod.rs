//! What all virtio devices have in common: their registers, and how they take requests.

mod registers;
mod requests;

use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use super::control::VirtioControl;
use super::queue::{Broken, Chain, Queue};
use crate::model::Bus;

/// What a device of some type does.
pub(super) trait Kind: Send {
    /// Returns the features that it offers besides those of all devices.
    fn features(&self) -> u64;

    /// Returns how many virtqueues there are.
    fn queues(&self) -> u16;

    /// Its configuration.
    fn config(&self) -> Vec<u8>;

    /// Tells whether requests of a queue wait until there is something for them.
    fn waits(&self, queue: u16, features: u64) -> bool;

    /// Takes a request, and returns how many bytes were written into it.
    fn take(&mut self, request: &Request<'_>, bus: &mut Bus<'_>) -> Result<u32, Broken>;

    /// Returns what is to be put into requests of a queue that wait, in as many as it takes.
    fn next_for(&mut self, queue: u16, features: u64) -> Option<Incoming> {
        let _ = (queue, features);
        None
    }

    /// Tells whether the configuration changed since it was last asked.
    fn has_changed(&mut self) -> bool;

    /// Takes note that it was reset.
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

    /// Forgets all, as after power-on.
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
