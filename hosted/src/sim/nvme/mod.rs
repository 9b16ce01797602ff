//! An NVMe controller (NVM Express Base Specification 1.4), with namespaces in memory.
//!
//! [`Nvme`] is what the driver meets, and [`NvmeControl`] what a test holds on to: it sees what is
//! on the medium, makes the controller fail in every way that a driver must bear, and cuts the
//! power.

mod admin;
mod control;
mod features;
mod identify;
mod io;
mod namespace;
mod prp;
mod queue;
mod status;

use std::borrow::ToOwned as _;
use std::collections::{BTreeMap, VecDeque};
use std::string::String;
use std::sync::{Arc, Mutex, MutexGuard};
use std::vec::Vec;

pub use control::{NvmeControl, NvmeCounts, NvmeFault, NvmeRefusal};
pub use namespace::{NvmeNamespace, NvmeProtection};

use super::{Bus, Registers};
use control::Control;
use features::Features;
use queue::{Completion, CompletionQueue, Entry, SubmissionQueue};

/// An NVMe controller with everything that the specification calls optional and a driver may use:
/// shadow doorbells, write zeroes, dataset management, a volatile write cache, events.
///
/// It checks what it is given as a strict device does: PRP entries that are not aligned, queues
/// that there are not, blocks that are not in the namespace, and DMA that the IOMMU does not let
/// through.
#[derive(Debug)]
pub struct Nvme {
    control: NvmeControl,
    options: Options,
    configuration: u32,
    status: u32,
    admin_lengths: u32,
    admin_submission: u64,
    admin_completion: u64,
    interrupt_mask: u32,
    /// Steps until it is ready, or has stopped.
    settling: Option<u32>,
    submissions: BTreeMap<u16, SubmissionQueue>,
    completions: BTreeMap<u16, CompletionQueue>,
    /// Commands that take time: the steps that are left, and how they end.
    slow: VecDeque<(u32, Completion)>,
    /// Commands that never end, and write to memory meanwhile.
    hanging: Vec<Entry>,
    /// Where doorbells are in memory, and where it says when it wants to see registers written.
    shadow: Option<(u64, u64)>,
    /// Steps for which it looks at doorbells in memory of its own accord.
    looking: u32,
    /// Requests for events, by their identifiers.
    event_requests: Vec<u16>,
    /// Events that nobody asked for yet.
    events: VecDeque<u32>,
    /// Kinds of events that wait for their log page to be read, as bits.
    masked_kinds: u8,
    features: Features,
    /// Newest first.
    errors: VecDeque<[u8; 64]>,
    error_count: u64,
}

/// How a controller is built.
#[derive(Clone, Debug)]
struct Options {
    /// CAP.
    capabilities: u64,
    /// VS.
    version: u32,
    serial: String,
    /// Bytes of what it says of itself, in the place of what is so.
    said: (usize, Vec<u8>),
    /// MDTS.
    transfer_shift: u8,
    /// Queue pairs.
    queues: u16,
    shadow_doorbells: bool,
    /// Steps that a command takes.
    latency: u32,
    /// Steps that it takes to become ready, or to stop.
    settling: u32,
    /// CRTO.
    ready_times: u32,
    /// Whether it lists all its namespaces, whatever it is asked.
    repeats_list: bool,
}

/// Offsets of the registers, in bytes.
mod offset {
    pub(super) const CAPABILITIES: u64 = 0x00;
    pub(super) const VERSION: u64 = 0x08;
    pub(super) const MASK_SET: u64 = 0x0c;
    pub(super) const MASK_CLEAR: u64 = 0x10;
    pub(super) const CONFIGURATION: u64 = 0x14;
    pub(super) const STATUS: u64 = 0x1c;
    pub(super) const ADMIN_LENGTHS: u64 = 0x24;
    pub(super) const ADMIN_SUBMISSION: u64 = 0x28;
    pub(super) const ADMIN_COMPLETION: u64 = 0x30;
    pub(super) const READY_TIMES: u64 = 0x68;
    pub(super) const DOORBELLS: u64 = 0x1000;
}

/// 1.4.
const VERSION: u32 = 0x0001_0400;
const ENABLE: u32 = 1;
const SHUTDOWN: u32 = 3 << 14;
const READY: u32 = 1;
const FATAL: u32 = 1 << 1;
const SHUTDOWN_COMPLETE: u32 = 2 << 2;
/// The size of pages, 0 for 4 KiB, and the command set: 0 for the NVM command set, and
/// [`ADMIN_ALONE`].
const SETTINGS_MASK: u32 = 0x7f0;
const ADMIN_ALONE: u32 = 7 << 4;
/// In the capabilities: the NVM command set.
const NVM_COMMANDS: u64 = 1 << 37;

/// How many vectors its MSI-X table has.
const VECTORS: u16 = 65;

/// Steps until it is ready, or has stopped.
const SETTLES: u32 = 3;
/// Steps for which it looks at doorbells in memory after the last command.
const LOOKS: u32 = 8;

impl Nvme {
    /// A controller without namespaces.
    ///
    /// Queues have up to 1024 entries, there are 8 queue pairs, a transfer has up to 512 KiB, and
    /// commands end at once.
    #[must_use]
    pub fn new() -> Self {
        Self {
            control: NvmeControl::default(),
            options: Options {
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
            },
            configuration: 0,
            status: 0,
            admin_lengths: 0,
            admin_submission: 0,
            admin_completion: 0,
            interrupt_mask: 0,
            settling: None,
            submissions: BTreeMap::new(),
            completions: BTreeMap::new(),
            slow: VecDeque::new(),
            hanging: Vec::new(),
            shadow: None,
            looking: 0,
            event_requests: Vec::new(),
            events: VecDeque::new(),
            masked_kinds: 0,
            features: Features::default(),
            errors: VecDeque::new(),
            error_count: 0,
        }
    }

    /// Adds a namespace; the first is number 1.
    #[must_use]
    pub fn with_namespace(self, namespace: NvmeNamespace) -> Self {
        self.control().add(namespace);
        self
    }

    /// With a limit of transfers, in pages of 4 KiB as the base-2 logarithm; 0 for none.
    #[must_use]
    pub fn with_transfer_shift(mut self, shift: u8) -> Self {
        self.options.transfer_shift = shift;
        self
    }

    /// With so many queue pairs.
    #[must_use]
    pub fn with_queues(mut self, queues: u16) -> Self {
        self.options.queues = queues.max(1);
        self
    }

    /// With queues of up to so many entries.
    #[must_use]
    pub fn with_entries(mut self, entries: u16) -> Self {
        self.options.capabilities &= !0xffff;
        self.options.capabilities |= u64::from(entries.max(2).wrapping_sub(1));
        self
    }

    /// With other capabilities (CAP).
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: u64) -> Self {
        self.options.capabilities = capabilities;
        self
    }

    /// With doorbells in memory.
    #[must_use]
    pub fn with_shadow_doorbells(mut self) -> Self {
        self.options.shadow_doorbells = true;
        self
    }

    /// With doorbells `4 << shift` bytes apart.
    #[must_use]
    pub fn with_stride(mut self, shift: u8) -> Self {
        self.options.capabilities &= !(0xf << 32);
        self.options.capabilities |= u64::from(shift & 0xf) << 32;
        self
    }

    /// With commands that take some steps of [time](Registers#time).
    #[must_use]
    pub fn with_latency(mut self, steps: u32) -> Self {
        self.options.latency = steps;
        self
    }

    /// With so many steps of [time](Registers#time) until it is ready, or has stopped.
    #[must_use]
    pub fn with_settling(mut self, steps: u32) -> Self {
        self.options.settling = steps;
        self
    }

    /// With a register that says how long it may take to become ready, with its media, in units of
    /// 500 ms (CRTO; NVM Express Base Specification 2.0, 3.1.3.1).
    #[must_use]
    pub fn with_ready_time(mut self, halves: u16) -> Self {
        self.options.capabilities |= 1 << 59;
        self.options.ready_times = halves.into();
        self
    }

    /// With another version of the specification than 1.4, as its register has it. It answers as
    /// that does.
    #[must_use]
    pub fn with_version(mut self, version: u32) -> Self {
        self.options.version = version;
        self
    }

    /// With a list of namespaces that begins anew each time, in the place of what comes next.
    #[must_use]
    pub fn with_repeated_list(mut self) -> Self {
        self.options.repeats_list = true;
        self
    }

    /// With a serial number, of up to 20 characters. What names the subsystem and its namespaces
    /// comes of it: a host takes two controllers of one serial number for the same.
    #[must_use]
    pub fn with_serial(mut self, serial: &str) -> Self {
        self.options.serial = serial.to_owned();
        self
    }

    /// With bytes at a place of what it says of itself (Identify, CNS 1), whatever is so.
    #[must_use]
    pub fn saying(mut self, at: usize, bytes: &[u8]) -> Self {
        self.options.said = (at, bytes.to_vec());
        self
    }

    /// What a test holds on to.
    #[must_use]
    pub fn control(&self) -> NvmeControl {
        self.control.clone()
    }

    fn shared(&self) -> MutexGuard<'_, Control> {
        self.control.lock()
    }

    /// Whether it has commands to namespaces: else it has admin commands alone.
    const fn has_commands(&self) -> bool {
        self.options.capabilities & NVM_COMMANDS != 0
    }

    const fn stride(&self) -> u64 {
        4 << (self.options.capabilities >> 32 & 0xf)
    }

    /// What a register of 32 bits reads as.
    fn register(&self, at: u64) -> u32 {
        if self.shared().is_gone {
            return u32::MAX;
        }
        let (base, is_high) = (at & !7, at & 4 != 0);
        let half = |value: u64| {
            let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
            u32::from_le_bytes(if is_high { [e, f, g, h] } else { [a, b, c, d] })
        };
        match at {
            offset::VERSION => self.options.version,
            offset::MASK_SET | offset::MASK_CLEAR => self.interrupt_mask,
            offset::CONFIGURATION => self.configuration,
            offset::STATUS => self.status,
            offset::ADMIN_LENGTHS => self.admin_lengths,
            offset::READY_TIMES => self.options.ready_times,
            _ => match base {
                offset::CAPABILITIES => half(self.options.capabilities),
                offset::ADMIN_SUBMISSION => half(self.admin_submission),
                offset::ADMIN_COMPLETION => half(self.admin_completion),
                _ => 0,
            },
        }
    }

    fn set_register(&mut self, at: u64, value: u32, bus: &mut Bus<'_>) {
        if self.shared().is_gone {
            return;
        }
        let put = |old: u64| {
            let value = u64::from(value);
            if at & 4 == 0 {
                old & !0xffff_ffff | value
            } else {
                old & 0xffff_ffff | value << 32
            }
        };
        match at {
            offset::MASK_SET => self.interrupt_mask |= value,
            offset::MASK_CLEAR => self.interrupt_mask &= !value,
            offset::CONFIGURATION => self.configure(value, bus),
            offset::ADMIN_LENGTHS => self.admin_lengths = value,
            _ if at & !7 == offset::ADMIN_SUBMISSION => {
                self.admin_submission = put(self.admin_submission);
            }
            _ if at & !7 == offset::ADMIN_COMPLETION => {
                self.admin_completion = put(self.admin_completion);
            }
            offset::DOORBELLS.. => self.doorbell(at.wrapping_sub(offset::DOORBELLS), value, bus),
            _ => (),
        }
    }

    fn configure(&mut self, value: u32, bus: &mut Bus<'_>) {
        let changed = self.configuration ^ value;
        self.configuration = value;
        if changed & ENABLE != 0 {
            if value & ENABLE == 0 {
                if self.status & (READY | FATAL) == 0 {
                    self.shared().counts.stopped_early += 1;
                }
                if !self.shared().never_stops {
                    self.forget(bus);
                    self.settling = Some(self.options.settling);
                }
            } else {
                self.settling = Some(self.options.settling);
            }
        }
        if value & changed & SHUTDOWN != 0 && self.status & FATAL == 0 {
            self.shared().flush_all();
            self.status |= SHUTDOWN_COMPLETE;
        }
    }

    /// Becomes ready, or stops.
    fn settle(&mut self) {
        if self.configuration & ENABLE == 0 {
            self.status &= FATAL;
            self.status = 0;
            return;
        }
        if self.shared().never_ready {
            return;
        }
        let [a, b, c, d] = self.admin_lengths.to_le_bytes();
        let lengths = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        let is_aligned = (self.admin_submission | self.admin_completion) & 0xfff == 0;
        let settings = if self.has_commands() { 0 } else { ADMIN_ALONE };
        if self.configuration & SETTINGS_MASK != settings
            || self.configuration >> 16 & 0xff != 0x46
            || lengths.0 == 0
            || lengths.1 == 0
            || !is_aligned
        {
            self.status |= FATAL;
            return;
        }
        let submissions =
            SubmissionQueue::new(0, self.admin_submission, lengths.0.saturating_add(1));
        let completions =
            CompletionQueue::new(self.admin_completion, lengths.1.saturating_add(1), Some(0));
        self.submissions.insert(0, submissions);
        self.completions.insert(0, completions);
        self.status |= READY;
    }

    /// Forgets queues and commands.
    fn forget(&mut self, bus: &mut Bus<'_>) {
        self.submissions.clear();
        self.completions.clear();
        self.slow.clear();
        self.hanging.clear();
        self.shadow = None;
        self.looking = 0;
        self.event_requests.clear();
        self.features = Features::default();
        self.events.clear();
        self.masked_kinds = 0;
        self.interrupt_mask = 0;
        bus.set_intx(false);
    }

    const fn is_running(&self) -> bool {
        self.status & (READY | FATAL) == READY
    }

    /// A fatal error: no command is taken any more.
    fn die(&mut self) {
        self.status |= FATAL;
    }
}

impl Default for Nvme {
    fn default() -> Self {
        Self::new()
    }
}

impl Registers for Nvme {
    fn read(&mut self, region: u32, offset: u64, data: &mut [u8], _: &mut Bus<'_>) {
        let words: Vec<u8> = match (region, data.len()) {
            (0, 4) => self.register(offset).to_le_bytes().into(),
            (0, 8) => [
                self.register(offset).to_le_bytes(),
                self.register(offset.wrapping_add(4)).to_le_bytes(),
            ]
            .concat(),
            // Registers are read whole.
            _ => std::vec![0; data.len()],
        };
        data.iter_mut().zip(words).for_each(|(to, from)| *to = from);
    }

    fn write(&mut self, region: u32, offset: u64, data: &[u8], bus: &mut Bus<'_>) {
        if region != 0 {
            return;
        }
        let (words, rest) = data.as_chunks::<4>();
        if !rest.is_empty() {
            return;
        }
        for (at, word) in (offset..).step_by(4).zip(words) {
            self.set_register(at, u32::from_le_bytes(*word), bus);
        }
    }

    fn advance(&mut self, bus: &mut Bus<'_>) -> bool {
        if self.shared().is_gone {
            return false;
        }
        if core::mem::take(&mut self.shared().becomes_fatal) {
            self.die();
        }
        match self.settling {
            Some(0) => {
                self.settling = None;
                self.settle();
            }
            Some(steps) => self.settling = Some(steps.wrapping_sub(1)),
            None => (),
        }
        self.scribble(bus);
        if self.is_running() {
            self.notice(bus);
            self.look_at_shadow(bus);
            self.finish_slow(bus);
        }
        self.settling.is_some() || !self.slow.is_empty() || self.looking > 0
    }

    fn reset(&mut self, bus: &mut Bus<'_>) {
        let is_immune = {
            let shared = self.shared();
            shared.ignores_reset || shared.is_gone
        };
        if is_immune {
            return;
        }
        self.forget(bus);
        self.configuration = 0;
        self.status = 0;
        self.admin_lengths = 0;
        self.admin_submission = 0;
        self.admin_completion = 0;
        self.settling = None;
    }
}

/// Locks; a panic of another thread is that thread's affair.
fn lock<T>(mutex: &Arc<Mutex<T>>) -> MutexGuard<'_, T> {
    super::kernel::lock(mutex)
}
