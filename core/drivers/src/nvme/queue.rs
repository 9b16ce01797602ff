//! A pair of queues for commands to namespaces (NVM Command Set, NVM Express Base Specification
//! 1.4, 6).

use core::fmt;

use vfio_core::dma::DmaHandle;
use vfio_core::mmio::{Access, Part, Window};
use vfio_core::sys::Sys;

use super::completion::{Completed, CompletionQueue, Sqid};
use super::controller::ControllerHandle;
use super::doorbell::Doorbell;
use super::error::{NvmeError, Refusal};
use super::identity::Identity;
use super::slot::{Memory, PAGE, Place, Slot, Usage};
use super::status::Status;
use super::submission::SubmissionQueue;

/// What is asked of a queue pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct QueueOptions {
    /// Bytes of data that a command can have: a multiple of 4 KiB, at most what the controller
    /// transfers at a time.
    pub slot: usize,
    /// Bytes of metadata that a command can have: needed where a namespace has metadata that are
    /// not in its blocks ([`Namespace`](super::Namespace)).
    pub metadata: usize,
    /// The MSI-X vector that tells of completions, for
    /// [`QueuePair::wait_for_interrupt`] too; none where they are polled for.
    pub vector: Option<u16>,
}

/// The identifier of a command that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CommandId {
    pub(super) pair: Identity,
    pub(super) cid: u16,
}

/// A command that ended.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Completion {
    /// The slot of the command, for the caller to read, to use again or to release.
    pub slot: Slot,
    /// How it ended.
    pub result: Result<(), Status>,
}

/// A command that was not given to the device.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Refused {
    /// The slot that was to be used.
    pub slot: Slot,
    /// Why.
    pub reason: Refusal,
}

/// A submission queue and a completion queue for up to `DEPTH` commands at a time, and memory for
/// their data.
///
/// A command has a [`Slot`]: memory that the caller fills or reads while it holds the slot, and
/// that belongs to the device from the command's submission to its completion. Commands are put
/// into the queue by [`QueuePair::read`], [`QueuePair::write`] and the like, and given to the
/// device all at once by [`QueuePair::ring`]; completions are taken by [`QueuePair::poll`] or
/// waited for by [`QueuePair::wait`].
///
/// The queues are deleted on drop, with the commands in them. What can't be, stops the controller.
/// Where nothing tells that the device has stopped, the memory is never given back.
pub struct QueuePair<C: ControllerHandle, const DEPTH: usize> {
    pub(super) controller: C,
    pub(super) id: u16,
    /// What its slots have.
    pub(super) identity: Identity,
    /// What namespaces have that were read since the controller was started.
    pub(super) started: Identity,
    /// The number of the submission queue.
    pub(super) sqid: Sqid,
    /// None only when it is dropped.
    pub(super) queues: Option<Queues<C::Dma>>,
    /// The submission queue's tail doorbell.
    pub(super) sq_doorbell: Doorbell<C>,
    /// The completion queue's head doorbell.
    pub(super) cq_doorbell: Doorbell<C>,
    /// How many completions may be taken without the device knowing of it, before further commands
    /// are given to it.
    pub(super) lazy: usize,
    pub(super) places: [Place; DEPTH],
    pub(super) free: heapless::Vec<u16, DEPTH>,
    /// None only when it is dropped.
    pub(super) memory: Option<Memory<C::Dma>>,
    /// Bytes of data of a slot.
    pub(super) slot_len: usize,
    /// Bytes of metadata of a slot.
    pub(super) metadata_len: usize,
    pub(super) created: Created,
    pub(super) vector: Option<u16>,
    /// What stood in the place of the next completion when it was first waited for.
    pub(super) glimpse: Option<(u16, Completed)>,
}

/// The memory of both queues.
#[derive(Debug)]
pub(super) struct Queues<M: DmaHandle> {
    pub(super) sq: SubmissionQueue<M>,
    pub(super) cq: CompletionQueue<M>,
}

/// Which queues there are in the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Created {
    Neither,
    Completion,
    Both,
}

/// The memory of a slot.
pub type SlotWindow<'q, S> = Window<Part<&'q <S as Sys>::Memory>>;

/// How an access to the registers of a controller can fail.
pub type ErrorOf<C> = <<C as ControllerHandle>::Access as Access>::Error;

impl Default for QueueOptions {
    /// Slots of 4 KiB without metadata, polled.
    fn default() -> Self {
        Self {
            slot: PAGE,
            metadata: 0,
            vector: None,
        }
    }
}

impl CommandId {
    /// Returns the number, which is that of the command's slot.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.cid
    }
}

impl Completion {
    /// Returns the identifier of the command.
    #[must_use]
    pub const fn id(&self) -> CommandId {
        self.slot.command()
    }
}

impl Slot {
    /// Returns the number, below the depth of its queue.
    #[must_use]
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// Returns the command that uses it.
    #[inline(always)]
    pub(super) const fn command(&self) -> CommandId {
        CommandId {
            pair: self.pair,
            cid: self.number,
        }
    }
}

impl<C: ControllerHandle, const DEPTH: usize> QueuePair<C, DEPTH> {
    /// Returns the number of the queues, from 1 on.
    #[must_use]
    pub const fn id(&self) -> u16 {
        self.id
    }

    /// Returns how many commands are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        let is_under_way = |place: &&Place| place.usage.is_command();
        self.places.iter().filter(is_under_way).count()
    }

    /// Returns the bytes of data of a slot.
    #[must_use]
    pub const fn slot_len(&self) -> usize {
        self.slot_len
    }

    /// Tells whether its doorbells are in memory.
    #[must_use]
    pub const fn uses_shadow_doorbells(&self) -> bool {
        self.sq_doorbell.is_shadowed()
    }

    /// Returns a free slot, if there is one.
    #[inline]
    pub fn slot(&mut self) -> Option<Slot> {
        let number = self.free.pop()?;
        if let Some(place) = self.places.get_mut(usize::from(number)) {
            place.usage = Usage::Held;
        }
        let pair = self.identity;
        Some(Slot { pair, number })
    }

    /// Gives a slot back.
    ///
    /// # Errors
    /// [`Refused`], with the slot, where it is that of another queue pair.
    pub fn release(&mut self, slot: Slot) -> Result<(), Refused> {
        if slot.pair != self.identity {
            let reason = Refusal::Slot { id: slot.number };
            return Err(Refused { slot, reason });
        }
        // After an error the slots are gone.
        if let Some(place) = self.places.get_mut(usize::from(slot.number))
            && place.usage == Usage::Held
        {
            place.usage = Usage::Free;
            // It came from there: there is room.
            let _ = self.free.push(slot.number);
        }
        Ok(())
    }

    /// Tells whether the caller holds a slot of this queue pair.
    pub(super) fn is_held(&self, slot: &Slot) -> bool {
        let place = self.places.get(usize::from(slot.number));
        slot.pair == self.identity && place.is_some_and(|place| place.usage == Usage::Held)
    }

    /// Returns the memory of a slot, to fill before a command and read after it.
    ///
    /// # Errors
    /// [`Refusal::Slot`] for a slot that is not the caller's.
    pub fn window(
        &mut self,
        slot: &Slot,
    ) -> Result<SlotWindow<'_, <C::Dma as DmaHandle>::Sys>, Refusal> {
        let len = self.slot_len;
        let offset = usize::from(slot.number).saturating_mul(len);
        let refusal = Refusal::Slot { id: slot.number };
        let is_held = self.is_held(slot);
        let memory = self.memory.as_mut().filter(|_| is_held).ok_or(refusal)?;
        let part = memory.window().into_part(offset, len);
        part.map_err(|_| refusal)
    }

    /// Returns the metadata of a slot, for blocks that have theirs apart.
    ///
    /// These are what the last read brought, and what [`QueuePair::write_with_metadata`] writes.
    /// Their length is [`QueueOptions::metadata`], rounded up to 8 bytes.
    ///
    /// # Errors
    /// [`Refusal::Slot`] for a slot that is not the caller's; [`Refusal::Metadata`] where the
    /// queue pair has no memory for metadata.
    pub fn metadata(
        &mut self,
        slot: &Slot,
    ) -> Result<SlotWindow<'_, <C::Dma as DmaHandle>::Sys>, Refusal> {
        let refusal = Refusal::Slot { id: slot.number };
        let (is_held, most) = (self.is_held(slot), self.metadata_len);
        let memory = self.memory.as_mut().filter(|_| is_held).ok_or(refusal)?;
        let part = memory.metadata(slot.number.into());
        part.filter(|_| most > 0).ok_or(Refusal::Metadata { most })
    }

    /// Aborts a command, and tells whether it was. It completes either way.
    ///
    /// The identifier of a command that has completed may be that of a later one.
    ///
    /// # Errors
    /// [`NvmeError`] of the admin command; [`NvmeError::Request`] for a command of another queue
    /// pair.
    pub fn abort(&mut self, id: CommandId) -> Result<bool, NvmeError<ErrorOf<C>>> {
        if id.pair != self.identity {
            let id = id.cid;
            return Err(NvmeError::Request(Refusal::Slot { id }));
        }
        self.controller.abort(self.id, id.cid)
    }
}

impl<C: ControllerHandle, const DEPTH: usize> fmt::Debug for QueuePair<C, DEPTH> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueuePair")
            .field("id", &self.id)
            .field("depth", &DEPTH)
            .field("under_way", &self.under_way())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl core::error::Error for Refused {}
