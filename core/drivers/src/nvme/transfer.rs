//! Reads and writes, put into a queue (NVM Command Set Specification 1.0, 3.2.4 and 3.2.6; PRP
//! entries and lists: NVM Express Base Specification 1.4, 4.3).

use vfio_core::mmio::Width as _;

use super::command::{in_range, io};
use super::controller::ControllerHandle;
use super::error::Refusal;
use super::namespace::Namespace;
use super::queue::{CommandId, QueuePair, Refused};
use super::slot::{self, PAGE, PAGE_64, Place, Slot, Usage};
use super::submission::Command;

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

impl<C: ControllerHandle, const DEPTH: usize> QueuePair<C, DEPTH> {
    /// Puts a read of `blocks` blocks from `lba` on into the queue.
    ///
    /// Its data are in the slot once it completed.
    ///
    /// # Errors
    /// [`Refused`], with the slot.
    // A page at most, without metadata that are apart, is put into the queue right here: in the
    // loop that calls it the compiler knows that a slot which `poll` has just returned is this queue
    // pair's, and checks that no more. That spares a random read 60 instructions of 150.
    #[inline(always)]
    pub fn read(
        &mut self,
        slot: Slot,
        namespace: &Namespace,
        lba: u64,
        blocks: u32,
    ) -> Result<CommandId, Refused> {
        let place = self.places.get_mut(usize::from(slot.number));
        if let (Some(queues), Some(place)) = (&mut self.queues, place)
            && slot.pair == self.identity
            && place.usage == Usage::Held
            && namespace.plain == self.started
            && in_range(namespace, lba, blocks)
            && bytes(namespace, blocks) <= PAGE_64
        {
            place.usage = Usage::Fresh;
            let command = command(io::READ, slot.number, place, namespace, lba, blocks);
            queues.sq.put(&command);
            return Ok(slot.command());
        }
        self.transfer(Way::Read, slot, namespace, lba, blocks)
    }

    /// Puts a write of `blocks` blocks from `lba` on into the queue.
    ///
    /// Its data are those in the slot. Where metadata are apart, zeros are written.
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
        self.transfer(way, slot, namespace, lba, blocks)
    }

    /// Puts a write with metadata into the queue, otherwise as [`QueuePair::write`] does.
    ///
    /// Where the namespace has them apart, they are those of the slot ([`QueuePair::metadata`]).
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
        self.transfer(way, slot, namespace, lba, blocks)
    }

    /// Puts a read or a write into the queue.
    pub(super) fn transfer(
        &mut self,
        way: Way,
        slot: Slot,
        namespace: &Namespace,
        lba: u64,
        blocks: u32,
    ) -> Result<CommandId, Refused> {
        let made = self.prepare(way, &slot, namespace, lba, blocks);
        match made {
            Ok(command) => self.put(slot, namespace, &command),
            Err(reason) => Err(Refused { slot, reason }),
        }
    }

    /// Makes the command of a transfer, and the memory of its slot ready for it.
    fn prepare(
        &mut self,
        way: Way,
        slot: &Slot,
        namespace: &Namespace,
        lba: u64,
        blocks: u32,
    ) -> Result<Command, Refusal> {
        self.check_held(slot)?;
        self.check_namespace(namespace)?;
        if !in_range(namespace, lba, blocks) {
            let size = namespace.blocks;
            return Err(Refusal::OutOfRange { size });
        }
        let most = self.slot_len;
        let bytes = usize::try_from(bytes(namespace, blocks)).ok();
        let bytes = bytes.filter(|bytes| *bytes <= most);
        let bytes = bytes.ok_or(Refusal::TooLong { most })?;
        if namespace.separate > 0 {
            self.prepare_metadata(way, slot, namespace, blocks)?;
        }
        let opcode = match way {
            Way::Read => io::READ,
            Way::Write(_) => io::WRITE,
        };
        let place = self.places.get(usize::from(slot.number));
        let place = place.copied().unwrap_or_default();
        let command = command(opcode, slot.number, &place, namespace, lba, blocks);
        let prp2 = self.prp2(slot, &place, bytes.div_ceil(PAGE));
        Ok(Command { prp2, ..command })
    }

    /// Returns the second PRP entry of a transfer: none, a page, or a list made right for it.
    fn prp2(&mut self, slot: &Slot, place: &Place, pages: usize) -> u64 {
        match pages {
            0 | 1 => 0,
            2 => place.prp1.wrapping_add(PAGE_64),
            pages => {
                if slot::needs_fit(pages)
                    && let Some(memory) = &mut self.memory
                {
                    memory.fit_list(usize::from(slot.number), pages);
                }
                place.list
            }
        }
    }

    /// Makes the metadata of a slot ready for blocks that have theirs apart: zeros them where
    /// zeros are to be written, since they may be what a read brought.
    fn prepare_metadata(
        &mut self,
        way: Way,
        slot: &Slot,
        namespace: &Namespace,
        blocks: u32,
    ) -> Result<(), Refusal> {
        let most = self.metadata_len;
        let len = u64::from(blocks).saturating_mul(namespace.separate.into());
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let memory = self.memory.as_mut();
        let window = memory.and_then(|memory| memory.metadata(slot.number.into()));
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
}

/// Returns the bytes that a transfer has in memory: at most 2^48.
#[inline(always)]
fn bytes(namespace: &Namespace, blocks: u32) -> u64 {
    u64::from(blocks).wrapping_mul(namespace.stride.into())
}

/// Makes the command of a transfer of a page at most.
#[inline(always)]
fn command(
    opcode: u8,
    cid: u16,
    place: &Place,
    namespace: &Namespace,
    lba: u64,
    blocks: u32,
) -> Command {
    Command {
        opcode,
        cid,
        nsid: namespace.id,
        mptr: place.mptr,
        prp1: place.prp1,
        prp2: 0,
        cdw10: u32::truncate(lba),
        cdw11: u32::truncate(lba >> 32),
        cdw12: blocks.wrapping_sub(1) | namespace.control,
        cdw14: namespace.reference_tag(lba),
    }
}
