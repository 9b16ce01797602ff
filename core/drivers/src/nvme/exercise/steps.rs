//! The steps, each on its own.

use core::time::Duration;

use vfio_core::device::DeviceHandle;
use vfio_core::device::irq::Vectors;
use vfio_core::wire::abi::pci_irq;

use super::area::Area;
use super::{Done, Outcome, Step, Trial};
use crate::nvme::{
    Completion, ControllerHandle, ErrorEntry, ErrorOf, EventKind, NvmeError, QueuePair, Slot,
    StatusCode,
};

/// Commands at a time.
const DEPTH: usize = 8;

/// How long an interrupt may take.
const INTERRUPT: Duration = Duration::from_secs(10);

/// The steps that write blocks.
pub(super) fn steps<D: DeviceHandle, C: ControllerHandle>(
    trial: &mut Trial<'_, ErrorOf<C>>,
    device: D,
    controller: &C,
    area: &Area,
) {
    let pair = QueuePair::<_, DEPTH>::new(controller.clone(), area.options(None));
    let mut pair = match pair {
        Ok(pair) => pair,
        Err(error) => return trial.run(Step::RoundTrip, || Err(Outcome::Device(error))),
    };
    trial.run(Step::RoundTrip, || round_trip(&mut pair, area));
    trial.run(Step::Depth, || depth(&mut pair, area));
    trial.run(Step::Flush, || flush(&mut pair, area));
    trial.run(Step::WriteZeroes, || write_zeroes(&mut pair, area));
    trial.run(Step::Deallocate, || deallocate(&mut pair, area));
    trial.run(Step::Queues, || queues(controller.clone(), &mut pair, area));
    trial.run(Step::Interrupt, || {
        interrupt(device, controller.clone(), area)
    });
    trial.run(Step::Status, || status(&mut pair, area));
    trial.run(Step::ErrorLog, || error_log(controller));
    trial.run(Step::Abort, || abort(&mut pair, area));
    trial.run(Step::Event, || event(controller));
}

/// The slot of a command that must have done what it should.
pub(super) fn ended<C: ControllerHandle, const D: usize>(
    pair: &mut QueuePair<C, D>,
) -> Done<C, Slot> {
    let Some(Completion { slot, result, .. }) = pair.wait()? else {
        return Err(Outcome::NotRun);
    };
    match result {
        Ok(()) => Ok(slot),
        Err(status) => {
            pair.take_back(slot);
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
pub(super) fn compare<C: ControllerHandle, const D: usize>(
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
    pair.release(slot)?;
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
        pair.release(slot)?;
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
        pair.release(slot)?;
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
    pair.release(slot)?;
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
    let ranges = [area.lba..middle, middle..last];
    let count = if middle < last { 2 } else { 1 };
    let ranges = ranges.get(..count).unwrap_or_default();
    pair.deallocate(slot, &area.namespace, ranges)?;
    let slot = ended(pair)?;
    // A controller need not deallocate what it is told to, and what is deallocated can read as
    // anything. The last block is still there.
    let last_block = bytes(area, area.blocks.saturating_sub(1));
    pair.read(slot, &area.namespace, last, 1)?;
    let slot = ended(pair)?;
    compare(pair, &slot, bytes(area, 1), |at| {
        word(0xdea1, at.saturating_add(last_block))
    })?;
    pair.release(slot)?;
    Ok(())
}

/// What one queue pair writes, another reads, while commands of both are under way.
fn queues<C: ControllerHandle>(
    controller: C,
    pair: &mut QueuePair<C, DEPTH>,
    area: &Area,
) -> Done<C> {
    if controller.queues() < 2 {
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
    other.release(slot)?;
    let slot = ended(pair)?;
    compare(pair, &slot, len, |at| word(0x2222, at))?;
    pair.release(slot)?;
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
        let ended = pair.wait_for_interrupt(&vectors)?;
        let Some(Completion { slot, result, .. }) = ended else {
            return Err(Outcome::Wrong {
                expected: 1,
                got: round,
            });
        };
        result.map_err(NvmeError::Command)?;
        pair.release(slot)?;
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
            pair.release(slot)?;
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
            pair.release(slot)?;
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
