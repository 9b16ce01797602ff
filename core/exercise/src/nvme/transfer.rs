//! Reads, writes and flushes.

use vfio_drivers::nvme::{ControllerHandle, QueuePair};

use super::area::Area;
use super::data::{bytes, compare, ended, fill, word, write_and_read};
use super::{DEPTH, Done, Outcome};

pub(super) fn round_trip<C: ControllerHandle>(
    pair: &mut QueuePair<C, DEPTH>,
    area: &Area,
) -> Done<C> {
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

/// Transfers one block with each command, all at a time.
pub(super) fn depth<C: ControllerHandle>(pair: &mut QueuePair<C, DEPTH>, area: &Area) -> Done<C> {
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

pub(super) fn flush<C: ControllerHandle>(pair: &mut QueuePair<C, DEPTH>, area: &Area) -> Done<C> {
    Ok(pair.flush_blocks(&area.namespace)?)
}
