//! What a test holds on to: the medium, and the faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::vec::Vec;

use super::namespace::NvmeNamespace;
use crate::lock::lock;

/// What a test holds on to of an [`Nvme`](super::Nvme). Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct NvmeControl(Arc<Mutex<Control>>);

/// A fault of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NvmeFault {
    /// It never completes, and its memory is written again and again meanwhile.
    Hang,
    /// It fails with a status: the type in the high byte, the code in the low one, and flags
    /// above (NVM Express Base Specification 1.4, 4.6.1).
    Status(u16),
    /// Its completion names another command.
    WrongId(u16),
    /// Its completion names another queue.
    WrongQueue(u16),
    /// Its completion names a place in the submission queue that there is not.
    WrongHead(u16),
    /// Its completion has the phase of an old one.
    WrongPhase,
    /// It completes twice.
    Twice,
    /// The controller reports a fatal error and takes no further command.
    Fatal,
    /// The controller is gone from then on: its registers read as all ones.
    Gone,
}

/// What old and odd controllers refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NvmeRefusal {
    /// Every admin command with this opcode.
    Opcode(u8),
    /// This part of Identify (CNS).
    Identify(u8),
    /// To set this feature, and to read it.
    Feature(u8),
    /// This log page.
    Log(u8),
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NvmeCounts {
    /// Doorbell registers that were written.
    pub doorbells: u64,
    /// Commands that were taken from queues, the admin queue's among them.
    pub commands: u64,
    /// Blocks that dataset management deallocated.
    pub deallocated: u64,
    /// Commands that never ended of their own accord.
    pub hung: u64,
    /// How often it was told to stop before it was ready, which the specification forbids (NVM
    /// Express Base Specification 1.4, 3.1.5).
    pub stopped_early: u64,
}

#[derive(Debug, Default)]
pub(super) struct Control {
    /// By number, from 1 on.
    pub(super) namespaces: BTreeMap<u32, NvmeNamespace>,
    /// Faults of commands: the queue, and how many commands come before.
    faults: Vec<(u16, u32, NvmeFault)>,
    pub(super) never_ready: bool,
    pub(super) never_stops: bool,
    pub(super) ignores_reset: bool,
    pub(super) is_gone: bool,
    pub(super) becomes_fatal: bool,
    /// An event that namespaces changed is due.
    pub(super) has_changed: bool,
    /// The namespaces that changed since the log page of it was read.
    pub(super) changed: BTreeSet<u32>,
    pub(super) counts: NvmeCounts,
    pub(super) refused: Vec<NvmeRefusal>,
}

impl NvmeControl {
    pub(super) fn lock(&self) -> MutexGuard<'_, Control> {
        lock(&self.0)
    }

    pub(super) fn add(&self, namespace: NvmeNamespace) {
        let mut control = self.lock();
        let last = control.namespaces.last_key_value();
        let next = last.map_or(1, |(number, _)| number.saturating_add(1));
        control.namespaces.insert(next, namespace);
    }

    /// Lets the command of a queue (0 is the admin queue) that comes after `before` others fail.
    pub fn inject(&self, queue: u16, before: u32, fault: NvmeFault) {
        self.lock().faults.push((queue, before, fault));
    }

    /// Tells whether the controller never becomes ready.
    pub fn set_never_ready(&self, is_so: bool) {
        self.lock().never_ready = is_so;
    }

    /// Tells whether the controller never says that it stopped, and goes on writing memory.
    pub fn set_never_stops(&self, is_so: bool) {
        self.lock().never_stops = is_so;
    }

    /// Tells whether a reset of the function changes nothing.
    pub fn set_ignores_reset(&self, is_so: bool) {
        self.lock().ignores_reset = is_so;
    }

    /// Takes the controller away, or puts it back: its registers read as all ones meanwhile.
    pub fn set_gone(&self, is_so: bool) {
        self.lock().is_gone = is_so;
    }

    /// Lets the controller report a fatal error.
    pub fn fail(&self) {
        self.lock().becomes_fatal = true;
    }

    /// Takes a namespace away, and tells who asked for events.
    pub fn remove_namespace(&self, id: u32) {
        let mut control = self.lock();
        control.namespaces.remove(&id);
        control.changed.insert(id);
        control.has_changed = true;
    }

    /// Cuts the power: what is in the write cache is lost.
    pub fn cut_power(&self) {
        for namespace in self.lock().namespaces.values_mut() {
            namespace.lose_cache();
        }
    }

    /// Returns the medium of a namespace, without what is in the write cache. None where there is
    /// no such namespace.
    #[must_use]
    pub fn medium(&self, id: u32) -> Option<Vec<u8>> {
        let control = self.lock();
        control.namespaces.get(&id).map(NvmeNamespace::medium)
    }

    /// Returns the metadata of a block of a namespace. None where there is no such namespace.
    #[must_use]
    pub fn metadata(&self, id: u32, lba: u64) -> Option<Vec<u8>> {
        let control = self.lock();
        let namespace = control.namespaces.get(&id)?;
        Some(namespace.metadata_of(lba))
    }

    /// Puts another namespace in the place of one, as formatting it does.
    pub fn replace_namespace(&self, id: u32, namespace: NvmeNamespace) {
        self.lock().namespaces.insert(id, namespace);
    }

    /// Refuses it from now on.
    pub fn refuse(&self, refusal: NvmeRefusal) {
        self.lock().refused.push(refusal);
    }

    /// Returns the counts so far.
    #[must_use]
    pub fn counts(&self) -> NvmeCounts {
        self.lock().counts
    }
}

impl Control {
    /// Returns the fault of the next command of a queue, if it has one.
    pub(super) fn fault(&mut self, queue: u16) -> Option<NvmeFault> {
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

    pub(super) fn flush_all(&mut self) {
        self.namespaces.values_mut().for_each(NvmeNamespace::flush);
    }
}
