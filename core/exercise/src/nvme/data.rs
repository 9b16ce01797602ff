//! What is written and read: a pattern in slots.

use vfio_drivers::nvme::{Completion, ControllerHandle, NvmeError, QueuePair, Slot};

use super::area::Area;
use super::{DEPTH, Done, Outcome};
use crate::report::same;

/// Returns the slot of a command, after checking that it succeeded.
pub(super) fn ended<C: ControllerHandle, const D: usize>(
    pair: &mut QueuePair<C, D>,
) -> Done<C, Slot> {
    let Some(Completion { slot, result, .. }) = pair.wait()? else {
        return Err(Outcome::NotRun);
    };
    match result {
        Ok(()) => Ok(slot),
        Err(status) => {
            let _ = pair.release(slot);
            Err(Outcome::Device(NvmeError::Command(status)))
        }
    }
}

/// Returns the word at `at` (bytes) of a pattern.
pub(super) fn word(seed: u64, at: usize) -> u64 {
    let at = u64::try_from(at).unwrap_or(0);
    let mixed = (seed ^ at).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (mixed ^ mixed >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53) | 1
}

/// Fills the first `len` bytes of a slot.
pub(super) fn fill<C: ControllerHandle, const D: usize>(
    pair: &mut QueuePair<C, D>,
    slot: &Slot,
    len: usize,
    seed: u64,
) -> Done<C> {
    let mut window = pair.window(slot).map_err(NvmeError::Request)?;
    for at in (0..len).step_by(8) {
        window
            .write(at, word(seed, at))
            .map_err(|_| Outcome::Memory)?;
    }
    Ok(())
}

/// Checks the first `len` bytes of a slot, word by word, against `expected`.
pub(super) fn compare<C: ControllerHandle, const D: usize>(
    pair: &mut QueuePair<C, D>,
    slot: &Slot,
    len: usize,
    expected: impl Fn(usize) -> u64,
) -> Done<C> {
    let mut window = pair.window(slot).map_err(NvmeError::Request)?;
    for at in (0..len).step_by(8) {
        let got: u64 = window.read(at).map_err(|_| Outcome::Memory)?;
        same(expected(at), got)?;
    }
    Ok(())
}

/// Bytes of this number of blocks.
pub(super) fn bytes(area: &Area, blocks: u32) -> usize {
    let len = u64::from(blocks).saturating_mul(area.namespace.stride().into());
    usize::try_from(len).unwrap_or(0)
}

/// Writes and reads `blocks` blocks, and compares.
pub(super) fn write_and_read<C: ControllerHandle, const D: usize>(
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

/// Writes all blocks.
pub(super) fn write_all<C: ControllerHandle>(
    pair: &mut QueuePair<C, DEPTH>,
    area: &Area,
    seed: u64,
) -> Done<C, Slot> {
    let slot = pair.slot().ok_or(Outcome::NotRun)?;
    fill(pair, &slot, bytes(area, area.blocks), seed)?;
    pair.write(slot, &area.namespace, area.lba, area.blocks)?;
    ended(pair)
}
