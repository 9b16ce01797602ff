//! How a controller is built.

use std::borrow::ToOwned as _;
use std::string::String;
use std::vec::Vec;

use super::{NVM_COMMANDS, Nvme, NvmeNamespace};
#[cfg(doc)]
use crate::model::Registers;

/// How a controller is built.
#[derive(Clone, Debug)]
pub(super) struct Options {
    /// CAP.
    pub(super) capabilities: u64,
    /// VS.
    pub(super) version: u32,
    pub(super) serial: String,
    /// Bytes of what it says of itself, in the place of what is so.
    pub(super) said: (usize, Vec<u8>),
    /// MDTS.
    pub(super) transfer_shift: u8,
    /// Queue pairs.
    pub(super) queues: u16,
    pub(super) shadow_doorbells: bool,
    /// Steps that a command takes.
    pub(super) latency: u32,
    /// Steps that it takes to become ready, or to stop.
    pub(super) settling: u32,
    /// CRTO.
    pub(super) ready_times: u32,
    /// Whether it lists all its namespaces, whatever it is asked.
    pub(super) repeats_list: bool,
}

/// 1.4.
const VERSION: u32 = 0x0001_0400;

/// Steps until it is ready, or has stopped.
const SETTLES: u32 = 3;

impl Default for Options {
    fn default() -> Self {
        Self {
            // 1024 entries, contiguous, 500 ms, the NVM command set, pages of 4 KiB.
            capabilities: 1023 | 1 << 16 | 1 << 24 | NVM_COMMANDS,
            version: VERSION,
            serial: "simulated".to_owned(),
            said: (0, Vec::new()),
            transfer_shift: 7,
            queues: 8,
            shadow_doorbells: false,
            latency: 0,
            settling: SETTLES,
            ready_times: 0,
            repeats_list: false,
        }
    }
}

impl Nvme {
    /// Adds a namespace; the first is number 1.
    #[must_use]
    pub fn with_namespace(self, namespace: NvmeNamespace) -> Self {
        self.control().add(namespace);
        self
    }

    /// Sets the limit of transfers, in pages of 4 KiB as the base-2 logarithm. 0 is none.
    #[must_use]
    pub fn with_transfer_shift(mut self, shift: u8) -> Self {
        self.options.transfer_shift = shift;
        self
    }

    /// Sets the number of queue pairs.
    #[must_use]
    pub fn with_queues(mut self, queues: u16) -> Self {
        self.options.queues = queues.max(1);
        self
    }

    /// Sets the most entries that a queue may have.
    #[must_use]
    pub fn with_entries(mut self, entries: u16) -> Self {
        self.options.capabilities &= !0xffff;
        self.options.capabilities |= u64::from(entries.max(2).wrapping_sub(1));
        self
    }

    /// Sets other capabilities (CAP).
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: u64) -> Self {
        self.options.capabilities = capabilities;
        self
    }

    /// Gives it doorbells in memory.
    #[must_use]
    pub fn with_shadow_doorbells(mut self) -> Self {
        self.options.shadow_doorbells = true;
        self
    }

    /// Places the doorbells `4 << shift` bytes apart.
    #[must_use]
    pub fn with_stride(mut self, shift: u8) -> Self {
        self.options.capabilities &= !(0xf << 32);
        self.options.capabilities |= u64::from(shift & 0xf) << 32;
        self
    }

    /// Makes each command take `steps` steps of [time](Registers#time).
    #[must_use]
    pub fn with_latency(mut self, steps: u32) -> Self {
        self.options.latency = steps;
        self
    }

    /// Makes it take `steps` steps of [time](Registers#time) to be ready, or to have stopped.
    #[must_use]
    pub fn with_settling(mut self, steps: u32) -> Self {
        self.options.settling = steps;
        self
    }

    /// Gives it a register that says how long it may take to become ready, with its media. The unit
    /// is 500 ms (CRTO; NVM Express Base Specification 2.0, 3.1.3.1).
    #[must_use]
    pub fn with_ready_time(mut self, halves: u16) -> Self {
        self.options.capabilities |= 1 << 59;
        self.options.ready_times = halves.into();
        self
    }

    /// Sets another version of the specification than 1.4, as its register has it. It answers as
    /// that does.
    #[must_use]
    pub fn with_version(mut self, version: u32) -> Self {
        self.options.version = version;
        self
    }

    /// Repeats the list of namespaces from its beginning, in the place of what comes next.
    #[must_use]
    pub fn with_repeated_list(mut self) -> Self {
        self.options.repeats_list = true;
        self
    }

    /// Sets the serial number, of up to 20 characters. What names the subsystem and its namespaces
    /// comes of it: a host takes two controllers of one serial number for the same.
    #[must_use]
    pub fn with_serial(mut self, serial: &str) -> Self {
        self.options.serial = serial.to_owned();
        self
    }

    /// Puts bytes at a place of the controller's answer to Identify (CNS 1), whatever is so.
    #[must_use]
    pub fn saying(mut self, at: usize, bytes: &[u8]) -> Self {
        self.options.said = (at, bytes.to_vec());
        self
    }
}
