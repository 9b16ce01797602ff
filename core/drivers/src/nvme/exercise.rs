//! All that the driver can do, tried step by step.

use core::fmt;
use core::time::Duration;

use vfio_core::abi::pci_irq;
use vfio_core::device::DeviceHandle;
use vfio_core::dma::DmaHandle;
use vfio_core::irq::{IrqError, Vectors};
use vfio_core::mmio::{Access, Window};

use super::queue::ErrorOf;
use super::{
    Completion, Controller, ControllerHandle, ErrorEntry, EventKind, Namespace, NvmeError, Options,
    QueueOptions, QueuePair, Refused, Slot, StatusCode,
};

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Step {
    /// The controller starts, and says what it is.
    Start,
    /// It has a namespace.
    Namespace,
    /// What is written is read, at every length up to that of a slot, with PRP lists.
    RoundTrip,
    /// As many commands at a time as the queue takes.
    Depth,
    /// A flush.
    Flush,
    /// Zeros that are not sent.
    WriteZeroes,
    /// Blocks that are not needed any more.
    Deallocate,
    /// Two queue pairs at once.
    Queues,
    /// A completion that an interrupt tells of.
    Interrupt,
    /// A command that fails does so alone, with its status.
    Status,
    /// The error log can be read.
    ErrorLog,
    /// A command is aborted, or completes before it is.
    Abort,
    /// The controller tells of a temperature.
    Event,
    /// The controller stops, and starts again.
    Restart,
    /// What was on the blocks that were used is there again.
    Restore,
    /// The controller shuts down.
    ShutDown,
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Outcome<E> {
    /// As it should.
    Passed,
    /// The controller does not have what it is about.
    NotThere,
    /// A value is not the one that it should be.
    Wrong {
        /// What it should be.
        expected: u64,
        /// What it is.
        got: u64,
    },
    /// The driver failed.
    Device(NvmeError<E>),
    /// Interrupts could not be had.
    Irq(IrqError),
    /// A step before it failed.
    NotRun,
}

/// How each step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Report<E> {
    /// In their order.
    pub steps: [(Step, Outcome<E>); Step::ALL.len()],
}

impl Step {
    /// All steps, in the order in which they are made.
    pub const ALL: [Self; 16] = [
        Self::Start,
        Self::Namespace,
        Self::RoundTrip,
        Self::Depth,
        Self::Flush,
        Self::WriteZeroes,
        Self::Deallocate,
        Self::Queues,
        Self::Interrupt,
        Self::Status,
        Self::ErrorLog,
        Self::Abort,
        Self::Event,
        Self::Restart,
        Self::Restore,
        Self::ShutDown,
    ];

    /// A name in `snake_case`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Namespace => "namespace",
            Self::RoundTrip => "round_trip",
            Self::Depth => "depth",
            Self::Flush => "flush",
            Self::WriteZeroes => "write_zeroes",
            Self::Deallocate => "deallocate",
            Self::Queues => "queues",
            Self::Interrupt => "interrupt",
            Self::Status => "status",
            Self::ErrorLog => "error_log",
            Self::Abort => "abort",
            Self::Event => "event",
            Self::Restart => "restart",
            Self::Restore => "restore",
            Self::ShutDown => "shut_down",
        }
    }
}

impl<E> Report<E> {
    fn new() -> Self {
        Self {
            steps: Step::ALL.map(|step| (step, Outcome::NotRun)),
        }
    }

    /// Whether every step passed, or was about something that the controller does not have.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.steps
            .iter()
            .all(|(_, outcome)| matches!(outcome, Outcome::Passed | Outcome::NotThere))
    }

    /// Keeps how a step went, and returns what came of it.
    fn keep<T>(&mut self, step: Step, result: Result<T, Outcome<E>>) -> Option<T> {
        let (outcome, value) = match result {
            Ok(value) => (Outcome::Passed, Some(value)),
            Err(outcome) => (outcome, None),
        };
        if let Some(slot) = self.steps.iter_mut().find(|(known, _)| *known == step) {
            slot.1 = outcome;
        }
        value
    }
}

impl<E> From<NvmeError<E>> for Outcome<E> {
    fn from(error: NvmeError<E>) -> Self {
        Self::Device(error)
    }
}

impl<E> From<Refused> for Outcome<E> {
    fn from(refused: Refused) -> Self {
        Self::Device(NvmeError::Request(refused.reason))
    }
}

impl<E: fmt::Display> fmt::Display for Outcome<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::NotThere => f.write_str("the controller does not have it"),
            Self::Wrong { expected, got } => write!(f, "{got:#x} in place of {expected:#x}"),
            Self::Device(error) => error.fmt(f),
            Self::Irq(error) => error.fmt(f),
            Self::NotRun => f.write_str("not run, because a step before it failed"),
        }
    }
}

/// Bytes of the namespace that are written, at its end. What is there is put back.
const USED: usize = 128 << 10;

/// Commands at a time.
const DEPTH: usize = 8;

/// How long an interrupt may take.
const INTERRUPT: Duration = Duration::from_secs(10);

/// What a step returns.
type Done<C, T = ()> = Result<T, Outcome<ErrorOf<C>>>;

/// Tries every step on the `device` whose BAR 0 is `bar0`, with memory of `dma`. Its bus
/// mastering must be on.
///
/// Blocks at the end of the first namespace are written, and get back what was there. After a
/// step that fails, those that build on it are [`Outcome::NotRun`].
pub fn exercise<D: DeviceHandle, A: Access, M: DmaHandle>(
    device: D,
    bar0: Window<A>,
    dma: M,
    options: Options,
) -> Report<A::Error> {
    let mut report = Report::new();
    let started = Controller::start(device.clone(), bar0, dma, options).map_err(Outcome::Device);
    let Some(mut controller) = report.keep(Step::Start, started) else {
        return report;
    };
    let found = first_namespace(&controller);
    let Some(namespace) = report.keep(Step::Namespace, found) else {
        return report;
    };
    let longest = controller.longest_transfer().unwrap_or(USED).min(USED);
    let Some(area) = Area::new(&namespace, longest) else {
        let _: Option<()> = report.keep(Step::RoundTrip, Err(Outcome::NotThere));
        return report;
    };
    if steps(&mut report, device, &&controller, &area).is_err() {
        return report;
    }
    let restarted = controller.restart().map_err(Outcome::Device);
    report.keep(Step::Restart, restarted);
    // What was there was put back before; it is still there.
    report.keep(
        Step::ShutDown,
        controller.shut_down().map_err(Outcome::Device),
    );
    report
}

/// Blocks that are used.
struct Area {
    namespace: Namespace,
    lba: u64,
    blocks: u32,
    /// Bytes, of which a slot has as many.
    len: usize,
}

impl Area {
    /// The last blocks of a namespace, where it has as many.
    fn new(namespace: &Namespace, len: usize) -> Option<Self> {
        let stride = usize::try_from(namespace.stride()).ok()?;
        let blocks = u32::try_from(len.checked_div(stride)?).ok()?;
        Some(Self {
            namespace: *namespace,
            lba: namespace.blocks().checked_sub(blocks.into())?,
            blocks,
            len,
        })
    }

    fn options(&self, vector: Option<u16>) -> QueueOptions {
        QueueOptions {
            slot: self.len,
            // More than a block has, as far as any is known.
            metadata: if self.namespace.has_separate_metadata() {
                self.len
            } else {
                0
            },
            vector,
        }
    }
}

/// The namespace with the lowest identifier.
fn first_namespace<C: ControllerHandle>(controller: C) -> Done<C, Namespace> {
    let mut ids = [0];
    match controller.namespace_ids(0, &mut ids)? {
        0 => Err(Outcome::NotThere),
        _ => Ok(controller.namespace(ids[0])?),
    }
}

/// The steps that write blocks; an error where the blocks could not be kept.
fn steps<D: DeviceHandle, C: ControllerHandle>(
    report: &mut Report<ErrorOf<C>>,
    device: D,
    controller: &C,
    area: &Area,
) -> Result<(), ()> {
    let kept = keep(controller.clone(), area);
    let (mut keeper, slot) = match kept {
        Ok(kept) => kept,
        Err(outcome) => {
            let _: Option<()> = report.keep(Step::RoundTrip, Err(outcome));
            return Err(());
        }
    };
    let pair = QueuePair::<_, DEPTH>::new(controller.clone(), area.options(None));
    match pair {
        Err(error) => {
            let _: Option<()> = report.keep(Step::RoundTrip, Err(Outcome::Device(error)));
        }
        Ok(mut pair) => {
            report.keep(Step::RoundTrip, round_trip(&mut pair, area));
            report.keep(Step::Depth, depth(&mut pair, area));
            report.keep(Step::Flush, flush(&mut pair, area));
            report.keep(Step::WriteZeroes, write_zeroes(&mut pair, area));
            report.keep(Step::Deallocate, deallocate(&mut pair, area));
            report.keep(Step::Queues, queues(controller.clone(), &mut pair, area));
            report.keep(Step::Interrupt, interrupt(device, controller.clone(), area));
            report.keep(Step::Status, status(&mut pair, area));
            report.keep(Step::ErrorLog, error_log(controller));
            report.keep(Step::Abort, abort(&mut pair, area));
            report.keep(Step::Event, event(controller));
        }
    }
    report.keep(Step::Restore, restore(&mut keeper, slot, area));
    Ok(())
}

/// Reads what is on the blocks, and keeps it in the slot of a queue pair.
fn keep<C: ControllerHandle>(controller: C, area: &Area) -> Done<C, (QueuePair<C, 1>, Slot)> {
    let mut keeper = QueuePair::new(controller, area.options(None))?;
    let slot = keeper.slot().ok_or(Outcome::NotRun)?;
    keeper.read(slot, &area.namespace, area.lba, area.blocks)?;
    let slot = ended(&mut keeper)?;
    Ok((keeper, slot))
}

fn restore<C: ControllerHandle>(keeper: &mut QueuePair<C, 1>, slot: Slot, area: &Area) -> Done<C> {
    keeper.write(slot, &area.namespace, area.lba, area.blocks)?;
    let slot = ended(keeper)?;
    keeper.flush(slot, &area.namespace)?;
    let slot = ended(keeper)?;
    keeper.release(slot);
    Ok(())
}

/// The slot of a command that must have done what it should.
fn ended<C: ControllerHandle, const D: usize>(pair: &mut QueuePair<C, D>) -> Done<C, Slot> {
    let Some(Completion { slot, result, .. }) = pair.wait()? else {
        return Err(Outcome::NotRun);
    };
    match result {
        Ok(()) => Ok(slot),
        Err(status) => {
            pair.release(slot);
            Err(Outcome::Device(NvmeError::Command(status)))
        }
    }
}

/// The word at `at` (bytes) of a pattern.
fn word(seed: u64, at: usize) -> u64 {
    let at = u64::try_from(at).unwrap_or(0);
    let mixed = (seed ^ at).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (mixed ^ mixed >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53) | 1
}

/// Fills the first `len` bytes of a slot.
fn fill<C: ControllerHandle, const D: usize>(
    pair: &mut QueuePair<C, D>,
    slot: &Slot,
    len: usize,
    seed: u64,
) -> Done<C> {
    let mut window = pair.window(slot).map_err(NvmeError::Request)?;
    for at in (0..len).step_by(8) {
        window
            .write(at, word(seed, at))
            .map_err(|_| Outcome::NotRun)?;
    }
    Ok(())
}

/// The first `len` bytes of a slot must be what `expected` says of each word.
fn compare<C: ControllerHandle, const D: usize>(
    pair: &mut QueuePair<C, D>,
    slot: &Slot,
    len: usize,
    expected: impl Fn(usize) -> u64,
) -> Done<C> {
    let mut window = pair.window(slot).map_err(NvmeError::Request)?;
    for at in (0..len).step_by(8) {
        let got: u64 = window.read(at).map_err(|_| Outcome::NotRun)?;
        same(expected(at), got)?;
    }
    Ok(())
}

/// A value must be another.
fn same<E>(expected: u64, got: u64) -> Result<(), Outcome<E>> {
    if expected == got {
        Ok(())
    } else {
        Err(Outcome::Wrong { expected, got })
    }
}

/// Bytes of so many blocks.
fn bytes(area: &Area, blocks: u32) -> usize {
    let len = u64::from(blocks).saturating_mul(area.namespace.stride().into());
    usize::try_from(len).unwrap_or(0)
}

/// Writes and reads `blocks` blocks, and compares.
fn write_and_read<C: ControllerHandle, const D: usize>(
    pair: &mut QueuePair<C, D>,
    area: &Area,
    blocks: u32,
) -> Done<C> {
    let (len, seed) = (bytes(area, blocks), u64::from(blocks) << 32);
    let slot = pair.slot().ok_or(Outcome::NotRun)?;
    fill(pair, &slot, len, seed)?;
    pair.write(slot, &area.namespace, area.lba, blocks)?;
    let slot = ended(pair)?;
    fill(pair, &slot, len, !seed)?;
    pair.read(slot, &area.namespace, area.lba, blocks)?;
    let slot = ended(pair)?;
    compare(pair, &slot, len, |at| word(seed, at))?;
    pair.release(slot);
    Ok(())
}

fn round_trip<C: ControllerHandle>(pair: &mut QueuePair<C, DEPTH>, area: &Area) -> Done<C> {
    let mut blocks = 1;
    while blocks < area.blocks {
        write_and_read(pair, area, blocks)?;
        blocks = blocks
            .saturating_mul(2)
            .saturating_sub(blocks / 2)
            .saturating_add(1);
    }
    write_and_read(pair, area, area.blocks)
}

/// One block for each command, all at a time.
fn depth<C: ControllerHandle>(pair: &mut QueuePair<C, DEPTH>, area: &Area) -> Done<C> {
    let len = bytes(area, 1);
    let count = u32::try_from(DEPTH).unwrap_or(0).min(area.blocks);
    for block in 0..count {
        let slot = pair.slot().ok_or(Outcome::NotRun)?;
        fill(pair, &slot, len, block.into())?;
        let lba = area.lba.saturating_add(block.into());
        pair.write(slot, &area.namespace, lba, 1)?;
    }
    for _ in 0..count {
        let slot = ended(pair)?;
        pair.release(slot);
    }
    let mut blocks = [0_u32; DEPTH];
    for block in 0..count {
        let slot = pair.slot().ok_or(Outcome::NotRun)?;
        if let Some(place) = blocks.get_mut(usize::from(slot.number())) {
            *place = block;
        }
        let lba = area.lba.saturating_add(block.into());
        pair.read(slot, &area.namespace, lba, 1)?;
    }
    for _ in 0..count {
        let slot = ended(pair)?;
        let block = blocks.get(usize::from(slot.number())).copied();
        let seed = u64::from(block.unwrap_or(0));
        compare(pair, &slot, len, |at| word(seed, at))?;
        pair.release(slot);
    }
    Ok(())
}

fn flush<C: ControllerHandle>(pair: &mut QueuePair<C, DEPTH>, area: &Area) -> Done<C> {
    Ok(pair.flush_blocks(&area.namespace)?)
}

/// The blocks must be zeros but for the last.
fn is_zero_but_last<C: ControllerHandle>(
    pair: &mut QueuePair<C, DEPTH>,
    slot: Slot,
    area: &Area,
    seed: u64,
) -> Done<C> {
    pair.read(slot, &area.namespace, area.lba, area.blocks)?;
    let slot = ended(pair)?;
    let zeros = bytes(area, area.blocks.saturating_sub(1));
    compare(pair, &slot, bytes(area, area.blocks), |at| {
        if at < zeros { 0 } else { word(seed, at) }
    })?;
    pair.release(slot);
    Ok(())
}

/// Writes all blocks.
fn write_all<C: ControllerHandle>(
    pair: &mut QueuePair<C, DEPTH>,
    area: &Area,
    seed: u64,
) -> Done<C, Slot> {
    let slot = pair.slot().ok_or(Outcome::NotRun)?;
    fill(pair, &slot, bytes(area, area.blocks), seed)?;
    pair.write(slot, &area.namespace, area.lba, area.blocks)?;
    ended(pair)
}

fn write_zeroes<C: ControllerHandle>(pair: &mut QueuePair<C, DEPTH>, area: &Area) -> Done<C> {
    if !pair.can_write_zeroes {
        return Err(Outcome::NotThere);
    }
    let slot = write_all(pair, area, 0x5eed)?;
    let count = area.blocks.saturating_sub(1);
    pair.write_zeroes(slot, &area.namespace, area.lba, count, false)?;
    let slot = ended(pair)?;
    is_zero_but_last(pair, slot, area, 0x5eed)
}

fn deallocate<C: ControllerHandle>(pair: &mut QueuePair<C, DEPTH>, area: &Area) -> Done<C> {
    if !pair.can_deallocate {
        return Err(Outcome::NotThere);
    }
    let slot = write_all(pair, area, 0xdea1)?;
    let last = area
        .lba
        .saturating_add(area.blocks.saturating_sub(1).into());
    let middle = area.lba.saturating_add(u64::from(area.blocks) / 2);
    pair.deallocate(slot, &area.namespace, &[area.lba..middle, middle..last])?;
    let slot = ended(pair)?;
    // A controller need not deallocate what it is told to, and what is deallocated can read as
    // anything. The last block is still there.
    let last_block = bytes(area, area.blocks.saturating_sub(1));
    pair.read(slot, &area.namespace, last, 1)?;
    let slot = ended(pair)?;
    compare(pair, &slot, bytes(area, 1), |at| {
        word(0xdea1, at.saturating_add(last_block))
    })?;
    pair.release(slot);
    Ok(())
}

/// What one queue pair writes, another reads, while commands of both are under way.
fn queues<C: ControllerHandle>(
    controller: C,
    pair: &mut QueuePair<C, DEPTH>,
    area: &Area,
) -> Done<C> {
    if controller.queues() < 3 {
        return Err(Outcome::NotThere);
    }
    let mut other = QueuePair::<_, 1>::new(controller, area.options(None))?;
    let slot = write_all(pair, area, 0x2222)?;
    pair.read(slot, &area.namespace, area.lba, area.blocks)?;
    let slot = other.slot().ok_or(Outcome::NotRun)?;
    other.read(slot, &area.namespace, area.lba, area.blocks)?;
    pair.ring()?;
    other.ring()?;
    let len = bytes(area, area.blocks);
    let slot = ended(&mut other)?;
    compare(&mut other, &slot, len, |at| word(0x2222, at))?;
    let slot = ended(pair)?;
    compare(pair, &slot, len, |at| word(0x2222, at))?;
    pair.release(slot);
    Ok(())
}

fn interrupt<D: DeviceHandle, C: ControllerHandle>(
    device: D,
    controller: C,
    area: &Area,
) -> Done<C> {
    let vectors = Vectors::<_, 2>::new(device, pci_irq::MSIX).map_err(Outcome::Irq)?;
    let mut pair = QueuePair::<_, DEPTH>::new(controller, area.options(Some(1)))?;
    for round in 0..4 {
        let slot = pair.slot().ok_or(Outcome::NotRun)?;
        pair.read(slot, &area.namespace, area.lba, 1)?;
        pair.ring()?;
        let came = vectors.wait(1, INTERRUPT).map_err(NvmeError::Wait)?;
        same(1, came.min(1))?;
        let ended = pair.wait_for_interrupt(&vectors, 1)?;
        let Some(Completion { slot, result, .. }) = ended else {
            return Err(Outcome::Wrong {
                expected: 1,
                got: round,
            });
        };
        result.map_err(NvmeError::Command)?;
        pair.release(slot);
    }
    Ok(())
}

/// A read that the driver lets through, and that the device refuses.
fn status<C: ControllerHandle>(pair: &mut QueuePair<C, DEPTH>, area: &Area) -> Done<C> {
    let mut beyond = area.namespace;
    beyond.blocks = beyond.blocks.saturating_add(1);
    let slot = pair.slot().ok_or(Outcome::NotRun)?;
    pair.read(slot, &beyond, area.namespace.blocks, 1)?;
    match ended(pair) {
        Err(Outcome::Device(NvmeError::Command(status)))
            if status.code() == StatusCode::LBA_OUT_OF_RANGE =>
        {
            write_and_read(pair, area, 1)
        }
        Err(other) => Err(other),
        Ok(slot) => {
            pair.release(slot);
            let expected = StatusCode::LBA_OUT_OF_RANGE.to_bits().into();
            Err(Outcome::Wrong { expected, got: 0 })
        }
    }
}

/// What it says of the command that failed before, where it keeps that.
fn error_log<C: ControllerHandle>(controller: &C) -> Done<C> {
    let mut entries = [ErrorEntry::default(); 4];
    let count = controller.error_log(&mut entries)?;
    if count == 0 {
        return Err(Outcome::NotThere);
    }
    Ok(())
}

fn abort<C: ControllerHandle>(pair: &mut QueuePair<C, DEPTH>, area: &Area) -> Done<C> {
    let slot = pair.slot().ok_or(Outcome::NotRun)?;
    let id = pair.read(slot, &area.namespace, area.lba, area.blocks)?;
    pair.ring()?;
    let was_aborted = pair.abort(id)?;
    match ended(pair) {
        Ok(slot) => {
            pair.release(slot);
            same(0, was_aborted.into())
        }
        Err(Outcome::Device(NvmeError::Command(status)))
            if status.code() == StatusCode::ABORT_REQUESTED =>
        {
            Ok(())
        }
        Err(other) => Err(other),
    }
}

fn event<C: ControllerHandle>(controller: &C) -> Done<C> {
    let before = controller.temperature_threshold()?;
    let temperature = controller.health()?.temperature;
    controller.enable_events()?;
    controller.set_temperature_threshold(temperature.saturating_sub(1))?;
    let deadline = controller.deadline(INTERRUPT)?;
    let event = loop {
        match controller.next_event()? {
            Some(event) if event.kind == EventKind::Health => break Some(event),
            _ if controller.now()? > deadline => break None,
            _ => core::hint::spin_loop(),
        }
    };
    controller.set_temperature_threshold(before)?;
    // Reading the log lets further events come.
    controller.health()?;
    match event {
        Some(_) => Ok(()),
        None => Err(Outcome::Wrong {
            expected: 1,
            got: 0,
        }),
    }
}
