//! Blocks that are zeroed or not needed any more.

use vfio_drivers::nvme::{ControllerHandle, QueuePair, Slot};

use super::area::Area;
use super::data::{bytes, compare, ended, word, write_all};
use super::{DEPTH, Done, Outcome};

/// Checks that the blocks are zeros, but for the last.
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

pub(super) fn write_zeroes<C: ControllerHandle>(
    controller: &C,
    pair: &mut QueuePair<C, DEPTH>,
    area: &Area,
) -> Done<C> {
    if !controller.info().can_write_zeroes() {
        return Err(Outcome::NotThere);
    }
    let slot = write_all(pair, area, 0x5eed)?;
    let count = area.blocks.saturating_sub(1);
    pair.write_zeroes(slot, &area.namespace, area.lba, count, false)?;
    let slot = ended(pair)?;
    is_zero_but_last(pair, slot, area, 0x5eed)
}

pub(super) fn deallocate<C: ControllerHandle>(
    controller: &C,
    pair: &mut QueuePair<C, DEPTH>,
    area: &Area,
) -> Done<C> {
    if !controller.info().can_deallocate() {
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
