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
mod options;
mod prp;
mod queue;
mod registers;
mod shadow;
mod status;

use std::collections::{BTreeMap, VecDeque};
use std::sync::MutexGuard;
use std::vec::Vec;

pub use control::{NvmeControl, NvmeCounts, NvmeFault, NvmeRefusal};
pub use namespace::{NvmeNamespace, NvmeProtection};

use vfio_core::wire::abi::DeviceFlags;

use super::msix::{BAR, TABLE, config};
use super::pci::{MAPPED, pci_irqs, pci_regions};
use super::{Description, HotReset, Model, RegionCap, RegionDescription};
use control::Control;
use features::Features;
use options::Options;
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

const READY: u32 = 1;
const FATAL: u32 = 1 << 1;
/// In the capabilities: the NVM command set.
const NVM_COMMANDS: u64 = 1 << 37;

/// How many vectors its MSI-X table has.
const VECTORS: u16 = 65;

/// Blocks of the namespaces, so that each has 16 MiB.
const BLOCKS_512: u64 = 32 << 10;
const BLOCKS_4096: u64 = 4 << 10;

impl Nvme {
    /// Creates a controller without namespaces.
    ///
    /// Queues have up to 1024 entries, there are 8 queue pairs, a transfer has up to 512 KiB, and
    /// commands end at once.
    #[must_use]
    pub fn new() -> Self {
        Self {
            control: NvmeControl::default(),
            options: Options::default(),
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

    /// Returns the handle that a test keeps.
    #[must_use]
    pub fn control(&self) -> NvmeControl {
        self.control.clone()
    }

    fn shared(&self) -> MutexGuard<'_, Control> {
        self.control.lock()
    }

    /// Tells whether it has commands to namespaces: else it has admin commands alone.
    const fn has_commands(&self) -> bool {
        self.options.capabilities & NVM_COMMANDS != 0
    }

    const fn stride(&self) -> u64 {
        4 << (self.options.capabilities >> 32 & 0xf)
    }

    const fn is_running(&self) -> bool {
        self.status & (READY | FATAL) == READY
    }

    /// Fails fatally: no command is taken any more.
    fn die(&mut self) {
        self.status |= FATAL;
    }
}

impl Default for Nvme {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns QEMU's `nvme` with [`Nvme`] in its BAR: a namespace with blocks of 512 bytes and one
/// with blocks of 4096 bytes, 16 MiB each, and shadow doorbells.
#[must_use]
pub fn nvme() -> Model {
    nvme_with(
        Nvme::new()
            .with_shadow_doorbells()
            .with_namespace(NvmeNamespace::of_512(BLOCKS_512))
            .with_namespace(NvmeNamespace::of_4096(BLOCKS_4096)),
    )
}

/// Works as [`nvme`], with another controller.
#[must_use]
pub fn nvme_with(nvme: Nvme) -> Model {
    let config = config();
    let bar = RegionDescription::new(0, MAPPED, BAR).with_cap(RegionCap::MsixMappable);
    Model::new(Description {
        flags: DeviceFlags::PCI | DeviceFlags::RESET,
        regions: pci_regions(&config, [(0, bar)]),
        irqs: pci_irqs(1, 0, 65, true).into(),
        hot_reset: HotReset::Itself,
        config,
        msix_table: Some(TABLE),
        ..Default::default()
    })
    .with_registers(nvme)
}
