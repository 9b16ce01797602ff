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

/// In dword 11 of a command that creates a queue: its memory is contiguous.
const CONTIGUOUS: u16 = 1;
/// In dword 11 of a command that creates a completion queue: it interrupts.
const INTERRUPTS: u16 = 1 << 1;
/// Entries of a completion queue that fit into a page.
const COMPLETIONS: u32 = 256;

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
        let info = controller.info();
        if info.submission_shift > 6 || info.completion_shift > 4 {
            return Err(NvmeError::EntrySizes {
                submission: info.submission_shift,
                completion: info.completion_shift,
            });
        }
        let most = controller.capabilities().most_entries();
        let too_deep = NvmeError::TooDeep {
            most: most.saturating_sub(1).min(u16::MAX.into()),
        };
        let depth = u16::try_from(DEPTH).ok().filter(|depth| *depth > 0);
        let entries = depth.and_then(|depth| depth.checked_add(1));
        let entries = entries.filter(|entries| u32::from(*entries) <= most);
        let (Some(depth), Some(entries)) = (depth, entries) else {
            return Err(too_deep);
        };
        // A completion queue with room to spare need not be told of every completion taken.
        let roomy = u32::from(depth).saturating_mul(2).saturating_add(1);
        let roomy = roomy.max(COMPLETIONS).min(most);
        let completions = u16::try_from(roomy).unwrap_or(entries).max(entries);
        let longest = controller.longest_transfer().unwrap_or(usize::MAX);
        if options.slot == 0 || !options.slot.is_multiple_of(PAGE) || options.slot > longest {
            return Err(NvmeError::SlotLength { most: longest });
        }
        let memory = Memory::new(controller.dma(), DEPTH, options.slot, options.metadata)
            .map_err(NvmeError::memory)?;
        let queues = Queues::new(controller.dma(), entries, completions)?;
        let identity = Identity::new().ok_or(NvmeError::Exhausted)?;
        let id = controller.with_admin(|admin, controller| {
            let most = controller.queues();
            let index = admin.queues.trailing_ones();
            match u16::try_from(index) {
                Ok(index) if index < most => {
                    admin.queues |= 1_u64.checked_shl(index.into()).unwrap_or_default();
                    Ok(index.saturating_add(1))
                }
                _ => Err(NvmeError::NoQueue { most }),
            }
        })?;
        let stride = controller.capabilities().stride_shift();
        let bell = |side| {
            let offset = doorbell::offset(id, side, stride);
            Doorbell::new(&controller, offset, true).ok_or(controller.short())
        };
        let (sq_doorbell, cq_doorbell) = match (bell(Side::Submission), bell(Side::Completion)) {
            (Ok(tail), Ok(head)) => (tail, head),
            (Err(error), _) | (_, Err(error)) => {
                let _ = controller.forget_queue(id);
                return Err(error);
            }
        };
        let mut free = heapless::Vec::new();
        for number in (0..depth).rev() {
            // There is room for all of them.
            let _ = free.push(number);
        }
        let mut places = [Place::default(); DEPTH];
        for (slot, place) in places.iter_mut().enumerate() {
            *place = memory.place(slot);
        }
        let info = controller.info();
        let (can_write_zeroes, can_deallocate) = (info.can_write_zeroes(), info.can_deallocate());
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
            lazy: usize::from(completions.saturating_sub(entries)),
            places,
            free,
            slot_len: memory.len,
            metadata_len: memory.metadata_len,
            memory: Some(memory),
            created: Created::Neither,
            vector: options.vector,
            can_write_zeroes,
            can_deallocate,
            glimpse: None,
        };
        pair.create(entries, completions)?;
        Ok(pair)
    }
}

impl<M: DmaHandle> Queues<M> {
    /// Makes empty queues of so many entries.
    fn new<E>(dma: &M, submissions: u16, completions: u16) -> Result<Self, NvmeError<E>> {
        Ok(Self {
            sq: SubmissionQueue::new(dma, submissions).map_err(NvmeError::memory)?,
            cq: CompletionQueue::new(dma, completions).map_err(NvmeError::memory)?,
        })
    }
}

impl<C: ControllerHandle, const DEPTH: usize> QueuePair<C, DEPTH> {
    /// Creates the queues in the device.
    fn create(&mut self, submissions: u16, completions: u16) -> Result<(), NvmeError<ErrorOf<C>>> {
        let Some(Queues { sq, cq }) = &self.queues else {
            return Err(NvmeError::Stopped);
        };
        let interrupts = self.vector.map_or(0, |_| INTERRUPTS);
        self.controller.command(&Command {
            opcode: opcode::CREATE_COMPLETION_QUEUE,
            prp1: cq.iova(),
            cdw10: dword(self.id, completions.wrapping_sub(1)),
            cdw11: dword(CONTIGUOUS | interrupts, self.vector.unwrap_or(0)),
            ..Command::default()
        })?;
        self.created = Created::Completion;
        self.controller.command(&Command {
            opcode: opcode::CREATE_SUBMISSION_QUEUE,
            prp1: sq.iova(),
            cdw10: dword(self.id, submissions.wrapping_sub(1)),
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
            Created::Completion => delete(opcode::DELETE_COMPLETION_QUEUE),
            // The first completes only when the device is done with every command of the queue.
            Created::Both => {
                delete(opcode::DELETE_SUBMISSION_QUEUE) && delete(opcode::DELETE_COMPLETION_QUEUE)
            }
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
