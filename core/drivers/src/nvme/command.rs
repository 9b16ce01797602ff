//! Commands to namespaces, put into a queue (NVM Express Base Specification 1.4, 6).

use core::ops::Range;

use vfio_core::dma::DmaHandle;
use vfio_core::mmio::field::ReadPureWrite;
use vfio_core::mmio::{Array, Width as _};
use vfio_core::registers;

use super::controller::ControllerHandle;
use super::error::Refusal;
use super::identify::Namespace;
use super::identity::Identity;
use super::protection::PROTECT;
use super::queue::{CommandId, QueuePair, Refused};
use super::ring::{Command, dwords};
use super::slot::{self, Memory, PAGE, Slot, Usage};

/// Whether data are read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Read,
    Write(Metadata),
}

/// What is written where the metadata of blocks are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metadata {
    Zeros,
    /// What is in the slot.
    Given,
}

/// Opcodes.
mod io {
    pub(super) const FLUSH: u8 = 0x00;
    pub(super) const WRITE: u8 = 0x01;
    pub(super) const READ: u8 = 0x02;
    pub(super) const WRITE_ZEROES: u8 = 0x08;
    pub(super) const DATASET_MANAGEMENT: u8 = 0x09;
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
    /// Puts a read of `blocks` blocks from `lba` on into the queue. Its data are in the slot once
    /// it completed.
    ///
    /// # Errors
    /// [`Refused`], with the slot.
    // In the loop that calls it, the compiler knows that a slot which `poll` has just returned is
    // this queue pair's, and keeps the rest in registers: that spares a random read 60 instructions.
    #[inline(always)]
    pub fn read(
        &mut self,
        slot: Slot,
        namespace: &Namespace,
        lba: u64,
        blocks: u32,
    ) -> Result<CommandId, Refused> {
        self.transfer(Way::Read, slot, namespace, lba, blocks)
    }

    /// Puts a write of `blocks` blocks from `lba` on into the queue, with the data in the slot.
    /// Where metadata are apart, zeros are written.
    ///
    /// # Errors
    /// [`Refused`], with the slot.
    #[inline]
    pub fn write(
        &mut self,
        slot: Slot,
        namespace: &Namespace,
        lba: u64,
        blocks: u32,
    ) -> Result<CommandId, Refused> {
        let way = Way::Write(Metadata::Zeros);
        self.transfer_either(way, slot, namespace, lba, blocks)
    }

    /// Puts a write into the queue as [`QueuePair::write`] does, with the metadata of the slot
    /// ([`QueuePair::metadata`]) where the namespace has them apart.
    ///
    /// # Errors
    /// [`Refused`], with the slot.
    pub fn write_with_metadata(
        &mut self,
        slot: Slot,
        namespace: &Namespace,
        lba: u64,
        blocks: u32,
    ) -> Result<CommandId, Refused> {
        let way = Way::Write(Metadata::Given);
        self.transfer_either(way, slot, namespace, lba, blocks)
    }

    /// Puts a flush into the queue: when it completes, what was written and completed before is
    /// not lost with power.
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

    /// Puts a write of zeros to `blocks` blocks from `lba` on, at most 65536, into the queue. The
    /// blocks are deallocated where the controller likes to and `deallocate` lets it.
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
        let reason = if self.can_write_zeroes {
            in_range(namespace, lba, blocks)
        } else {
            Some(Refusal::NotSupported)
        };
        if let Some(reason) = reason {
            return Err(Refused { slot, reason });
        }
        let flags = if deallocate { DEALLOCATE_ZEROES } else { 0 };
        let command = Command {
            opcode: io::WRITE_ZEROES,
            cid: slot.number,
            nsid: namespace.id,
            dwords10: lba,
            // There is nothing to check: that may not be asked for (NVM Command Set Specification
            // 1.0, 3.2.8).
            dwords12: u64::from(blocks.wrapping_sub(1) | flags | namespace.control & PROTECT),
            dwords14: tag(namespace, lba),
            ..Command::default()
        };
        self.put(slot, namespace, &command)
    }

    /// Puts a command into the queue that deallocates ranges of blocks, at most 256 of them: what
    /// they hold is not needed any more.
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
                    dwords10: dwords(count.wrapping_sub(1), DEALLOCATE),
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
        if !self.can_deallocate {
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
                let Ok(()) = entry.write(BlockRange::blocks, dwords(0, blocks));
                let Ok(()) = entry.write(BlockRange::lba, range.start);
            }
        }
        Ok(())
    }

    /// [`QueuePair::transfer`], once for both ways.
    fn transfer_either(
        &mut self,
        way: Way,
        slot: Slot,
        namespace: &Namespace,
        lba: u64,
        blocks: u32,
    ) -> Result<CommandId, Refused> {
        self.transfer(way, slot, namespace, lba, blocks)
    }

    /// Puts a read or a write into the queue.
    #[inline(always)]
    pub(super) fn transfer(
        &mut self,
        way: Way,
        slot: Slot,
        namespace: &Namespace,
        lba: u64,
        blocks: u32,
    ) -> Result<CommandId, Refused> {
        // What says whose the slot is comes first: the compiler leaves all of it out for a slot
        // that `poll` has just returned.
        if slot.pair != self.identity {
            return Err(no_slot(slot));
        }
        let (Some(rings), Some(place)) = (
            &mut self.rings,
            self.places.get_mut(usize::from(slot.number)),
        ) else {
            return Err(no_slot(slot));
        };
        if place.usage != Usage::Held {
            return Err(no_slot(slot));
        }
        // A slot is no longer than an address, and a namespace no longer than 2^64 bytes.
        let bytes = u64::from(blocks).wrapping_mul(u64::from(namespace.stride));
        let Some(room) = namespace.blocks.checked_sub(lba) else {
            return Err(self.refuse(slot, namespace, lba, blocks));
        };
        if u64::from(blocks) > room || blocks.wrapping_sub(1) > u32::from(u16::MAX) {
            return Err(self.refuse(slot, namespace, lba, blocks));
        }
        if usize::try_from(bytes).map_or(true, |bytes| bytes > self.slot_len) {
            return Err(self.refuse(slot, namespace, lba, blocks));
        }
        if namespace.plain != self.started {
            let (memory, started) = (self.memory.as_mut(), self.started);
            if let Err(reason) = prepare(memory, started, way, slot.number, namespace, blocks) {
                return Err(Refused { slot, reason });
            }
        }
        let prp2 = if bytes <= slot::PAGE_64 {
            0
        } else if bytes <= slot::PAGE_64.wrapping_mul(2) {
            place.prp1.wrapping_add(slot::PAGE_64)
        } else {
            let pages = usize::try_from(bytes).unwrap_or(0).div_ceil(PAGE);
            if slot::needs_fit(pages)
                && let Some(memory) = &mut self.memory
            {
                memory.fit_list(usize::from(slot.number), pages);
            }
            place.list
        };
        place.usage = Usage::Fresh;
        rings.put(&Command {
            opcode: match way {
                Way::Read => io::READ,
                Way::Write(_) => io::WRITE,
            },
            cid: slot.number,
            nsid: namespace.id,
            mptr: place.mptr,
            prp1: place.prp1,
            prp2,
            dwords10: lba,
            dwords12: u64::from(blocks.wrapping_sub(1) | namespace.control),
            dwords14: tag(namespace, lba),
        });
        Ok(slot.command())
    }

    /// Refuses a transfer that is not in the namespace, or longer than a slot.
    #[cold]
    fn refuse(&self, slot: Slot, namespace: &Namespace, lba: u64, blocks: u32) -> Refused {
        let most = self.slot_len;
        let reason = self
            .foreign(namespace)
            .or(in_range(namespace, lba, blocks))
            .unwrap_or(Refusal::TooLong { most });
        Refused { slot, reason }
    }

    /// Refuses a namespace that was not read from this controller since it was started last.
    fn foreign(&self, namespace: &Namespace) -> Option<Refusal> {
        let id = namespace.id;
        (namespace.controller != self.started).then_some(Refusal::Namespace { id })
    }

    /// Puts a command into the queue that is no transfer.
    fn put(
        &mut self,
        slot: Slot,
        namespace: &Namespace,
        command: &Command,
    ) -> Result<CommandId, Refused> {
        if let Some(reason) = self.foreign(namespace) {
            return Err(Refused { slot, reason });
        }
        let place = self.places.get_mut(usize::from(slot.number));
        match (place, &mut self.rings) {
            (Some(place), Some(rings))
                if place.usage == Usage::Held && slot.pair == self.identity =>
            {
                place.usage = Usage::Fresh;
                rings.put(command);
            }
            _ => return Err(no_slot(slot)),
        }
        Ok(slot.command())
    }
}

/// Makes the memory of a slot ready for blocks whose metadata are apart: zeros them where zeros
/// are to be written, since they may be what a read brought. Namespaces of other controllers end
/// here as well.
#[cold]
fn prepare<M: DmaHandle>(
    memory: Option<&mut Memory<M>>,
    started: Identity,
    way: Way,
    number: u16,
    namespace: &Namespace,
    blocks: u32,
) -> Result<(), Refusal> {
    let id = namespace.id;
    if namespace.controller != started {
        return Err(Refusal::Namespace { id });
    }
    let most = memory.as_ref().map_or(0, |memory| memory.metadata_len);
    let len = u64::from(blocks).saturating_mul(namespace.separate.into());
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let window = memory.and_then(|memory| memory.metadata(number.into()));
    let Some(mut window) = window.filter(|_| len <= most) else {
        return Err(Refusal::Metadata { most });
    };
    if way == Way::Write(Metadata::Zeros) {
        // The metadata of a slot are a multiple of 8 bytes long.
        for at in (0..len).step_by(8) {
            let _ = window.write::<u64>(at, 0);
        }
    }
    Ok(())
}

/// The reference tag of a transfer, where the namespace has one.
#[inline(always)]
fn tag(namespace: &Namespace, lba: u64) -> u64 {
    u64::from(u32::truncate(lba) & namespace.tag_mask)
}

/// What is wrong with a range of blocks, if anything is.
fn in_range(namespace: &Namespace, lba: u64, blocks: u32) -> Option<Refusal> {
    let end = lba.checked_add(blocks.into());
    let is_count = blocks.wrapping_sub(1) <= u16::MAX.into();
    let is_inside = end.is_some_and(|end| end <= namespace.blocks);
    let size = namespace.blocks;
    (!is_count || !is_inside).then_some(Refusal::OutOfRange { size })
}

#[cold]
fn no_slot(slot: Slot) -> Refused {
    let id = slot.number;
    let reason = Refusal::Slot { id };
    Refused { slot, reason }
}
