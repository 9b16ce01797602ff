//! What a test holds on to: the faults, and what was counted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::vec::Vec;

use crate::lock::lock;

/// What a test holds on to of a virtio device of any type. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct VirtioControl(Arc<Mutex<Control>>);

/// A fault of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VirtioFault {
    /// It is never used, and its memory is written again and again meanwhile.
    Hang,
    /// Its used entry names another chain.
    UsedId(u32),
    /// Its used entry says that so many bytes were written.
    UsedLen(u32),
    /// The index of the used ring is so far ahead of what it should be.
    UsedAhead(u16),
    /// It is used twice.
    Twice,
    /// The interrupt is not sent.
    NoInterrupt,
    /// What the device writes first into the memory of the request is this: the header of a frame
    /// that comes. The rest is as it should be.
    Header([u8; 12]),
    /// It ends with this status, which the device writes last: that of a disk, or the answer of
    /// the control queue.
    Status(u8),
    /// The device says that it can't go on, and takes no further request.
    NeedsReset,
    /// The device is gone from then on: its registers read as all ones.
    Gone,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VirtioCounts {
    /// Doorbells that were written.
    pub notifications: u64,
    /// Requests that were taken from virtqueues.
    pub requests: u64,
    /// Interrupts that were sent.
    pub interrupts: u64,
    /// Requests that were never used.
    pub hung: u64,
    /// Times that the driver said that it failed.
    pub failed: u64,
}

#[derive(Debug, Default)]
pub(super) struct Control {
    /// Faults of requests: the virtqueue, and how many requests come before.
    faults: Vec<(u16, u32, VirtioFault)>,
    /// What stands in registers, whatever is so: by offset in BAR 4, byte by byte.
    pub(super) said: BTreeMap<u64, u8>,
    pub(super) never_resets: bool,
    pub(super) ignores_reset: bool,
    pub(super) is_gone: bool,
    pub(super) needs_reset: bool,
    /// The generation of the configuration goes on with each read.
    pub(super) is_unsteady: bool,
    /// What it writes into the flags of used rings.
    pub(super) used_flags: u16,
    /// What it writes for an event, in the place of what is so.
    pub(super) event: Option<u16>,
    pub(super) counts: VirtioCounts,
}

impl VirtioControl {
    pub(super) fn lock(&self) -> MutexGuard<'_, Control> {
        lock(&self.0)
    }

    /// Lets the request of a virtqueue that comes after `before` others fail.
    pub fn inject(&self, queue: u16, before: u32, fault: VirtioFault) {
        self.lock().faults.push((queue, before, fault));
    }

    /// Lets registers read as `bytes`, whatever is so; `offset` is that in BAR 4.
    pub fn say(&self, offset: u64, bytes: &[u8]) {
        let said = (offset..).zip(bytes.iter().copied());
        self.lock().said.extend(said);
    }

    /// Lets registers read as what is so again.
    pub fn say_no_more(&self) {
        self.lock().said.clear();
    }

    /// Decides whether the device never becomes reset of its own accord, and goes on writing
    /// memory.
    pub fn set_never_resets(&self, is_so: bool) {
        self.lock().never_resets = is_so;
    }

    /// Decides whether a reset of the function changes nothing.
    pub fn set_ignores_reset(&self, is_so: bool) {
        self.lock().ignores_reset = is_so;
    }

    /// Takes the device away, or puts it back: its registers read as all ones meanwhile.
    pub fn set_gone(&self, is_so: bool) {
        self.lock().is_gone = is_so;
    }

    /// Decides whether the configuration changes whenever it is looked at.
    pub fn set_unsteady(&self, is_so: bool) {
        self.lock().is_unsteady = is_so;
    }

    /// Lets the device write this into the flags of its used rings.
    pub fn set_used_flags(&self, flags: u16) {
        self.lock().used_flags = flags;
    }

    /// Lets the device write this for its events (`avail_event`), in the place of what is so.
    pub fn set_event(&self, event: Option<u16>) {
        self.lock().event = event;
    }

    /// Lets the device say that it can't go on.
    pub fn fail(&self) {
        self.lock().needs_reset = true;
    }

    /// Returns the counts so far.
    #[must_use]
    pub fn counts(&self) -> VirtioCounts {
        self.lock().counts
    }
}

impl Control {
    /// Returns the fault of the next request of a virtqueue, if it has one.
    pub(super) fn fault(&mut self, queue: u16) -> Option<VirtioFault> {
        let mut found = None;
        self.faults.retain_mut(|(of, before, fault)| {
            if *of != queue || found.is_some() {
                return true;
            }
            match before.checked_sub(1) {
                Some(left) => {
                    *before = left;
                    true
                }
                None => {
                    found = Some(*fault);
                    false
                }
            }
        });
        found
    }
}
