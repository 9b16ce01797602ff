//! Creating and deleting a queue pair (NVM Express Base Specification 1.4, 5.3 to 5.6).

use vfio_core::device::DeviceHandle;
use vfio_core::dma::DmaHandle;
use vfio_core::mmio::Access;

use super::admin::opcode;
use super::completion::{CompletionQueue, Sqid};
use super::controller::{Controller, ControllerHandle, State};
use super::doorbell::{self, Doorbell, Side};
use super::entries::dword;
use super::error::NvmeError;
use super::identity::Identity;
use super::queue::{Created, ErrorOf, QueueOptions, QueuePair, Queues};
use super::slot::{Memory, PAGE, Place};
use super::submission::{Command, SubmissionQueue};

/// In CDW11 of a command that creates a queue: its memory is contiguous.
const CONTIGUOUS: u16 = 1;
/// In CDW11 of a command that creates a completion queue: it interrupts.
const INTERRUPTS: u16 = 1 << 1;
/// Entries of a completion queue that fit into a page.
const COMPLETIONS: u32 = 256;

/// The doorbells of a submission queue and of its completion queue.
type Doorbells<C> = (Doorbell<C>, Doorbell<C>);

/// How many entries the queues of a pair have.
#[derive(Clone, Copy, Debug)]
struct Entries {
    sq: u16,
    cq: u16,
}

impl<D: DeviceHandle, M: DmaHandle, A: Access> Controller<D, M, A> {
    /// Creates a queue pair for up to `DEPTH` commands at a time.
    ///
    /// # Errors
    /// [`NvmeError::NoQueue`], [`NvmeError::EntrySizes`], [`NvmeError::TooDeep`],
    /// [`NvmeError::SlotLength`]; what memory and the admin commands return.
    pub fn queue_pair<const DEPTH: usize>(
        &self,
        options: QueueOptions,
    ) -> Result<QueuePair<&Self, DEPTH>, NvmeError<A::Error>> {
        QueuePair::new(self, options)
    }

    /// Takes the lowest number that no queue pair has.
    fn claim_queue(&self) -> Result<u16, NvmeError<A::Error>> {
        self.with_admin(|admin, controller| {
            let most = controller.queues();
            let index = admin.queues.trailing_ones();
            match u16::try_from(index) {
                Ok(index) if index < most => {
                    admin.queues |= 1_u64.checked_shl(index.into()).unwrap_or_default();
                    Ok(index.saturating_add(1))
                }
                _ => Err(NvmeError::NoQueue { most }),
            }
        })
    }

    /// Gives the number of a queue pair back.
    fn forget_queue(&self, id: u16) -> Result<(), NvmeError<A::Error>> {
        self.with_admin(|admin, _| {
            let bit = u32::from(id).wrapping_sub(1);
            admin.queues &= !1_u64.checked_shl(bit).unwrap_or_default();
            Ok(())
        })
    }
}

impl<C: ControllerHandle, const DEPTH: usize> QueuePair<C, DEPTH> {
    /// Creates a queue pair, as [`Controller::queue_pair`] does, and keeps the handle.
    ///
    /// # Errors
    /// As [`Controller::queue_pair`].
    pub fn new(controller: C, options: QueueOptions) -> Result<Self, NvmeError<ErrorOf<C>>> {
        controller.running()?;
        let entries = Entries::new(DEPTH, controller.capabilities().most_entries())?;
        let memory = memory(&controller, DEPTH, options)?;
        let queues = Queues::new(controller.dma(), entries)?;
        let identity = Identity::new().ok_or(NvmeError::Exhausted)?;
        let id = controller.claim_queue()?;
        let (sq_doorbell, cq_doorbell) = doorbells(&controller, id)?;
        let mut places = [Place::default(); DEPTH];
        for (slot, place) in places.iter_mut().enumerate() {
            *place = memory.place(slot);
        }
        let started = controller.started();
        let mut pair = Self {
            controller,
            id,
            identity,
            started,
            sqid: Sqid::new(id),
            queues: Some(queues),
            sq_doorbell,
            cq_doorbell,
            lazy: usize::from(entries.cq.saturating_sub(entries.sq)),
            places,
            free: (0..entries.sq.saturating_sub(1)).rev().collect(),
            slot_len: memory.len,
            metadata_len: memory.metadata_len,
            memory: Some(memory),
            created: Created::Neither,
            vector: options.vector,
            glimpse: None,
        };
        pair.create(entries)?;
        Ok(pair)
    }
}

/// Makes the memory of the slots of a queue pair.
fn memory<C: ControllerHandle>(
    controller: &C,
    slots: usize,
    options: QueueOptions,
) -> Result<Memory<C::Dma>, NvmeError<ErrorOf<C>>> {
    let info = controller.info();
    if info.submission_shift > 6 || info.completion_shift > 4 {
        return Err(NvmeError::EntrySizes {
            submission: info.submission_shift,
            completion: info.completion_shift,
        });
    }
    let most = controller.longest_transfer().unwrap_or(usize::MAX);
    if options.slot == 0 || !options.slot.is_multiple_of(PAGE) || options.slot > most {
        return Err(NvmeError::SlotLength { most });
    }
    let memory = Memory::new(controller.dma(), slots, options.slot, options.metadata);
    memory.map_err(NvmeError::memory)
}

/// Returns the doorbells of a queue pair; where it has none, its number is given back.
fn doorbells<C: ControllerHandle>(
    controller: &C,
    id: u16,
) -> Result<Doorbells<C>, NvmeError<ErrorOf<C>>> {
    let doorbell = |side| {
        let stride = controller.capabilities().stride_shift();
        Doorbell::new(controller, doorbell::offset(id, side, stride), true)
    };
    match (doorbell(Side::Submission), doorbell(Side::Completion)) {
        (Some(sq), Some(cq)) => Ok((sq, cq)),
        _ => {
            let _ = controller.forget_queue(id);
            Err(controller.short())
        }
    }
}

impl Entries {
    /// Counts the entries for `depth` commands at a time, where a queue has at most `most`.
    fn new<E>(depth: usize, most: u32) -> Result<Self, NvmeError<E>> {
        // One stays empty: a queue that is full looks otherwise than one that is not.
        let depth = u16::try_from(depth).ok().filter(|depth| *depth > 0);
        let sq = depth.and_then(|depth| depth.checked_add(1));
        let Some(sq) = sq.filter(|sq| u32::from(*sq) <= most) else {
            let most = most.saturating_sub(1).min(u16::MAX.into());
            return Err(NvmeError::TooDeep { most });
        };
        // With room to spare, the device need not be told of every completion taken.
        let roomy = u32::from(sq).saturating_mul(2).saturating_sub(1);
        let roomy = roomy.max(COMPLETIONS).min(most);
        let cq = u16::try_from(roomy).unwrap_or(sq).max(sq);
        Ok(Self { sq, cq })
    }
}

impl<M: DmaHandle> Queues<M> {
    /// Makes empty queues.
    fn new<E>(dma: &M, entries: Entries) -> Result<Self, NvmeError<E>> {
        Ok(Self {
            sq: SubmissionQueue::new(dma, entries.sq).map_err(NvmeError::memory)?,
            cq: CompletionQueue::new(dma, entries.cq).map_err(NvmeError::memory)?,
        })
    }
}

impl<C: ControllerHandle, const DEPTH: usize> QueuePair<C, DEPTH> {
    /// Creates the queues in the device.
    fn create(&mut self, entries: Entries) -> Result<(), NvmeError<ErrorOf<C>>> {
        let Some(Queues { sq, cq }) = &self.queues else {
            return Err(NvmeError::Stopped);
        };
        let interrupts = self.vector.map_or(0, |_| INTERRUPTS);
        self.controller.command(&Command {
            opcode: opcode::CREATE_IO_CQ,
            prp1: cq.iova(),
            cdw10: dword(self.id, entries.cq.wrapping_sub(1)),
            cdw11: dword(CONTIGUOUS | interrupts, self.vector.unwrap_or(0)),
            ..Command::default()
        })?;
        self.created = Created::Completion;
        self.controller.command(&Command {
            opcode: opcode::CREATE_IO_SQ,
            prp1: sq.iova(),
            cdw10: dword(self.id, entries.sq.wrapping_sub(1)),
            cdw11: dword(CONTIGUOUS, self.id),
            ..Command::default()
        })?;
        self.created = Created::Both;
        Ok(())
    }

    /// Deletes in the device what was created there; whether that worked. It is done with the
    /// memory then.
    fn delete(&self) -> bool {
        let delete = |opcode| {
            let command = Command {
                opcode,
                cdw10: self.id.into(),
                ..Command::default()
            };
            self.controller.command(&command).is_ok()
        };
        match self.created {
            Created::Neither => true,
            Created::Completion => delete(opcode::DELETE_IO_CQ),
            // The first completes only when the device is done with every command of the queue.
            Created::Both => delete(opcode::DELETE_IO_SQ) && delete(opcode::DELETE_IO_CQ),
        }
    }
}

impl<C: ControllerHandle, const DEPTH: usize> Drop for QueuePair<C, DEPTH> {
    fn drop(&mut self) {
        let controller = &self.controller;
        if controller.state() == State::Running {
            if self.delete() {
                let _ = controller.forget_queue(self.id);
                return;
            }
            controller.stop();
        }
        if controller.state() != State::Stopped {
            // The device may still write it.
            core::mem::forget(self.memory.take());
            core::mem::forget(self.queues.take());
        }
    }
}
