//! Commands that fail or are aborted, and what the controller keeps of that.

use vfio_drivers::nvme::{ControllerHandle, ErrorEntry, NvmeError, QueuePair, StatusCode};

use super::area::Area;
use super::data::{ended, write_and_read};
use super::{DEPTH, Done, Outcome};
use crate::report::same;

/// Sends a read that the driver lets through, and that the device refuses.
pub(super) fn status<C: ControllerHandle>(pair: &mut QueuePair<C, DEPTH>, area: &Area) -> Done<C> {
    let blocks = area.namespace.blocks();
    let beyond = area.namespace.with_blocks(blocks.saturating_add(1));
    let slot = pair.slot().ok_or(Outcome::NotRun)?;
    pair.read(slot, &beyond, blocks, 1)?;
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

/// Reads the error log entry of the command that failed before, where the controller keeps one.
pub(super) fn error_log<C: ControllerHandle>(controller: &C) -> Done<C> {
    let mut entries = [ErrorEntry::default(); 4];
    let count = controller.error_log(&mut entries)?;
    if count == 0 {
        return Err(Outcome::NotThere);
    }
    Ok(())
}

pub(super) fn abort<C: ControllerHandle>(pair: &mut QueuePair<C, DEPTH>, area: &Area) -> Done<C> {
    let slot = pair.slot().ok_or(Outcome::NotRun)?;
    let id = pair.read(slot, &area.namespace, area.lba, area.blocks)?;
    pair.ring()?;
    let was_aborted = pair.abort(id)?;
    match ended(pair) {
        Ok(slot) => {
            pair.release(slot)?;
            same(false, was_aborted)
        }
        Err(Outcome::Device(NvmeError::Command(status)))
            if status.code() == StatusCode::ABORT_REQUESTED =>
        {
            Ok(())
        }
        Err(other) => Err(other),
    }
}
