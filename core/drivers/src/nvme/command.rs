//! Commands that transfer no data of blocks, put into a queue (NVM Command Set Specification 1.0,
//! 3.2; flush: NVM Express Base Specification 1.4, 6.8).

use core::ops::Range;

use vfio_core::mmio::field::ReadPureWrite;
use vfio_core::mmio::{Array, Width as _};
use vfio_core::registers;

use super::controller::ControllerHandle;
use super::entries::qword;
use super::error::Refusal;
use super::namespace::Namespace;
use super::protection::PROTECT;
use super::queue::{CommandId, QueuePair, Refused};
use super::slot::{Slot, Usage};
use super::submission::Command;

/// Opcodes.
pub(super) mod io {
    pub(crate) const FLUSH: u8 = 0x00;
    pub(crate) const WRITE: u8 = 0x01;
    pub(crate) const READ: u8 = 0x02;
    pub(crate) const WRITE_ZEROES: u8 = 0x08;
    pub(crate) const DATASET_MANAGEMENT: u8 = 0x09;
}

/// In dword 11 of dataset management: the ranges are deallocated.
const DEALLOCATE: u32 = 1 << 2;
/// In dword 12 of a write of zeros: the blocks may be deallocated.
const DEALLOCATE_ZEROES: u32 = 1 << 25;

/// Ranges of a command of dataset management.
const RANGES: usize = 256;

registers! {
    /// A range of blocks of a command of dataset management.
    struct BlockRange: 0x10 {
        /// Attributes, and how many blocks in the upper half.
        0x00 blocks: ReadPureWrite<u64>,
        0x08 lba: ReadPureWrite<u64>,
    }
}

impl<C: ControllerHandle, const DEPTH: usize> QueuePair<C, DEPTH> {
    /// Puts a flush into the queue.
    ///
    /// Once it completes, what was written and completed before is not lost with power.
    ///
    /// # Errors
    /// [`Refused`], with the slot.
    pub fn flush(&mut self, slot: Slot, namespace: &Namespace) -> Result<CommandId, Refused> {
        let command = Command {
            opcode: io::FLUSH,
            cid: slot.number,
            nsid: namespace.id,
            ..Command::default()
        };
        self.put(slot, namespace, &command)
    }

    /// Puts a write of zeros to `blocks` blocks from `lba` on into the queue.
    ///
    /// They are at most 65536. They are deallocated where the controller likes to and `deallocate`
    /// lets it.
    ///
    /// # Errors
    /// [`Refused`], with the slot; [`Refusal::NotSupported`] where the controller can't.
    pub fn write_zeroes(
        &mut self,
        slot: Slot,
        namespace: &Namespace,
        lba: u64,
        blocks: u32,
        deallocate: bool,
    ) -> Result<CommandId, Refused> {
        let reason = if !self.controller.info().can_write_zeroes() {
            Some(Refusal::NotSupported)
        } else if !in_range(namespace, lba, blocks) {
            let size = namespace.blocks;
            Some(Refusal::OutOfRange { size })
        } else {
            None
        };
        if let Some(reason) = reason {
            return Err(Refused { slot, reason });
        }
        let flags = if deallocate { DEALLOCATE_ZEROES } else { 0 };
        let command = Command {
            opcode: io::WRITE_ZEROES,
            cid: slot.number,
            nsid: namespace.id,
            cdw10: u32::truncate(lba),
            cdw11: u32::truncate(lba >> 32),
            // There is nothing to check: that may not be asked for (NVM Command Set Specification
            // 1.0, 3.2.8).
            cdw12: blocks.wrapping_sub(1) | flags | namespace.control & PROTECT,
            cdw14: namespace.reference_tag(lba),
            ..Command::default()
        };
        self.put(slot, namespace, &command)
    }

    /// Puts a command into the queue that deallocates ranges of blocks, at most 256.
    ///
    /// What they hold is not needed any more.
    ///
    /// # Errors
    /// [`Refused`], with the slot; [`Refusal::NotSupported`] where the controller can't.
    pub fn deallocate(
        &mut self,
        slot: Slot,
        namespace: &Namespace,
        ranges: &[Range<u64>],
    ) -> Result<CommandId, Refused> {
        match self.write_ranges(&slot, namespace, ranges) {
            Err(reason) => Err(Refused { slot, reason }),
            Ok(()) => {
                let count = u32::try_from(ranges.len()).unwrap_or(1);
                let place = self.places.get(usize::from(slot.number));
                let command = Command {
                    opcode: io::DATASET_MANAGEMENT,
                    cid: slot.number,
                    nsid: namespace.id,
                    prp1: place.map_or(0, |place| place.prp1),
                    cdw10: count.wrapping_sub(1),
                    cdw11: DEALLOCATE,
                    ..Command::default()
                };
                self.put(slot, namespace, &command)
            }
        }
    }

    /// Writes ranges into a slot.
    fn write_ranges(
        &mut self,
        slot: &Slot,
        namespace: &Namespace,
        ranges: &[Range<u64>],
    ) -> Result<(), Refusal> {
        if !self.controller.info().can_deallocate() {
            return Err(Refusal::NotSupported);
        }
        let count = ranges.len();
        if count == 0 || count > RANGES {
            return Err(Refusal::Ranges { count });
        }
        let window = self.window(slot)?;
        let array: Result<Array<_, BlockRange>, _> = window.into_array(0, count);
        let mut array = array.map_err(|_| Refusal::Ranges { count })?;
        for (index, range) in ranges.iter().enumerate() {
            let blocks = range.end.saturating_sub(range.start);
            let blocks = u32::try_from(blocks).unwrap_or(0);
            if blocks == 0 || range.end > namespace.blocks {
                let size = namespace.blocks;
                return Err(Refusal::OutOfRange { size });
            }
            if let Some(mut entry) = array.block(index) {
                let Ok(()) = entry.write(BlockRange::blocks, qword(0, blocks));
                let Ok(()) = entry.write(BlockRange::lba, range.start);
            }
        }
        Ok(())
    }

    /// Refuses a slot that the caller does not hold.
    pub(super) fn check_held(&self, slot: &Slot) -> Result<(), Refusal> {
        let id = slot.number;
        let is_held = self.is_held(slot);
        is_held.then_some(()).ok_or(Refusal::Slot { id })
    }

    /// Refuses a namespace that was not read from this controller since it was started last.
    pub(super) fn check_namespace(&self, namespace: &Namespace) -> Result<(), Refusal> {
        let id = namespace.id;
        let is_own = namespace.controller == self.started;
        is_own.then_some(()).ok_or(Refusal::Namespace { id })
    }

    /// Puts a command into the queue.
    pub(super) fn put(
        &mut self,
        slot: Slot,
        namespace: &Namespace,
        command: &Command,
    ) -> Result<CommandId, Refused> {
        let checked = self.check_namespace(namespace);
        if let Err(reason) = checked.and_then(|()| self.check_held(&slot)) {
            return Err(Refused { slot, reason });
        }
        let place = self.places.get_mut(usize::from(slot.number));
        if let (Some(place), Some(queues)) = (place, &mut self.queues) {
            place.usage = Usage::Fresh;
            queues.sq.put(command);
        }
        Ok(slot.command())
    }
}

/// Tells whether a range of blocks is in a namespace, and no longer than a command's.
#[inline(always)]
pub(super) fn in_range(namespace: &Namespace, lba: u64, blocks: u32) -> bool {
    let room = namespace.blocks.checked_sub(lba);
    room.is_some_and(|room| u64::from(blocks) <= room) && blocks.wrapping_sub(1) <= u16::MAX.into()
}
