//! The admin queue, and its commands one at a time (NVM Express Base Specification 1.4, 5).

use vfio_core::dma::{Buffer, Direction, DmaHandle};

use super::completion::{Completed, CompletionQueue};
use super::controller::ControllerHandle;
use super::doorbell::{self, Doorbell, Side};
use super::error::{Misfit, NvmeError};
use super::identify::Page;
use super::log::Event;
use super::queue::ErrorOf;
use super::status::Status;
use super::submission::{Command, SubmissionQueue};

/// Opcodes.
pub(super) mod opcode {
    pub(crate) const DELETE_IO_SQ: u8 = 0x00;
    pub(crate) const CREATE_IO_SQ: u8 = 0x01;
    pub(crate) const GET_LOG_PAGE: u8 = 0x02;
    pub(crate) const DELETE_IO_CQ: u8 = 0x04;
    pub(crate) const CREATE_IO_CQ: u8 = 0x05;
    pub(crate) const IDENTIFY: u8 = 0x06;
    pub(crate) const ABORT: u8 = 0x08;
    pub(crate) const SET_FEATURES: u8 = 0x09;
    pub(crate) const GET_FEATURES: u8 = 0x0a;
    pub(crate) const ASYNC_EVENT_REQUEST: u8 = 0x0c;
    pub(crate) const DOORBELL_BUFFER_CONFIG: u8 = 0x7c;
}

/// Entries of each of its queues.
pub(super) const ENTRIES: u16 = 16;

/// The identifier of the request for an event; those of other commands are below.
const EVENT_CID: u16 = 0x8000;

/// Events that are kept until they are asked for.
const EVENTS: usize = 8;

/// How often memory is looked at before the clock is.
pub(super) const SPINS: u32 = 1024;

/// The admin queue. One command besides the request for an event is under way at a time.
#[derive(Debug)]
pub(super) struct Admin<M: DmaHandle> {
    pub(super) sq: SubmissionQueue<M>,
    pub(super) cq: CompletionQueue<M>,
    /// What commands read and write.
    page: Buffer<M>,
    next_cid: u16,
    /// Events are wanted.
    wants_events: bool,
    /// A request for an event is outstanding.
    asked: bool,
    events: heapless::Deque<Event, EVENTS>,
    /// The queue pairs in use, as bits from that of queue 1 on.
    pub(super) queues: u64,
}

impl<M: DmaHandle> Admin<M> {
    pub(super) fn new<E>(dma: &M) -> Result<Self, NvmeError<E>> {
        Ok(Self {
            sq: SubmissionQueue::new(dma, ENTRIES).map_err(NvmeError::memory)?,
            cq: CompletionQueue::new(dma, ENTRIES).map_err(NvmeError::memory)?,
            page: Buffer::new(dma.clone(), Page::LEN, Direction::Both)
                .map_err(NvmeError::memory)?,
            next_cid: 0,
            wants_events: false,
            asked: false,
            events: heapless::Deque::new(),
            queues: 0,
        })
    }

    /// Starts anew: the controller was reset.
    pub(super) fn clear(&mut self) {
        self.sq.clear();
        self.cq.clear();
        self.wants_events = false;
        self.asked = false;
        self.events.clear();
        self.queues = 0;
    }

    /// Returns where the device finds the page.
    pub(super) const fn page_iova(&self) -> u64 {
        self.page.iova()
    }

    /// Copies the page out of the device's reach.
    pub(super) fn read_page(&mut self, page: &mut Page) {
        // The buffer has a page.
        let _ = self.page.window().read_bytes(0, &mut page.0);
    }

    /// Puts `word` at the start of the page, and zeros behind it up to `len` bytes.
    pub(super) fn fill_page(&mut self, len: usize, word: u64) {
        let mut word = word;
        for at in (0..len).step_by(8) {
            // The buffer has a page.
            let _ = self.page.window().write(at, core::mem::take(&mut word));
        }
    }

    /// Makes a command and waits for its end; returns what it answers.
    pub(super) fn execute<C: ControllerHandle<Dma = M>>(
        &mut self,
        controller: &C,
        command: &Command,
    ) -> Result<u32, NvmeError<ErrorOf<C>>> {
        // Without a clock no command is given: nothing would say when it takes too long.
        let limit = controller.deadline(controller.limits().admin)?;
        let cid = self.next_cid;
        let next = cid.wrapping_add(1);
        self.next_cid = if next == EVENT_CID { 0 } else { next };
        self.give(controller, &Command { cid, ..*command })?;
        loop {
            for _ in 0..SPINS {
                let Some(completed) = self.cq.take() else {
                    core::hint::spin_loop();
                    continue;
                };
                let answer = self.cq.dw0();
                self.acknowledge(controller)?;
                if completed.sqid() == 0 && completed.cid() == cid && self.fits(completed) {
                    let status = Status::from_bits(completed.status());
                    return status.map_or(Ok(answer), |status| Err(NvmeError::Command(status)));
                }
                self.event(completed, answer)
                    .map_err(|misfit| NvmeError::Unexpected { queue: 0, misfit })?;
            }
            controller.check()?;
            if controller.now()? > limit {
                return Err(self.late(cid));
            }
        }
    }

    /// Returns what a command that does not end comes from.
    fn late<E>(&mut self, cid: u16) -> NvmeError<E> {
        // Identifiers are not used again for so long that an old completion has another.
        let is_there = self.cq.peek().is_some_and(|there| there.cid() == cid);
        if is_there && !self.cq.is_untouched() {
            let misfit = Misfit::Phase { id: cid };
            NvmeError::Unexpected { queue: 0, misfit }
        } else {
            NvmeError::Timeout {
                queue: 0,
                command: cid,
            }
        }
    }

    /// Wants to be told of events from now on.
    pub(super) fn want_events<C: ControllerHandle<Dma = M>>(
        &mut self,
        controller: &C,
    ) -> Result<(), NvmeError<ErrorOf<C>>> {
        self.wants_events = true;
        self.ask(controller)
    }

    /// Returns the next event, if there is one.
    pub(super) fn next_event<C: ControllerHandle<Dma = M>>(
        &mut self,
        controller: &C,
    ) -> Result<Option<Event>, NvmeError<ErrorOf<C>>> {
        while let Some(completed) = self.cq.take() {
            let answer = self.cq.dw0();
            self.acknowledge(controller)?;
            self.event(completed, answer)
                .map_err(|misfit| NvmeError::Unexpected { queue: 0, misfit })?;
        }
        self.ask(controller)?;
        Ok(self.events.pop_front())
    }

    /// Asks for an event, where one is wanted and none was asked for.
    fn ask<C: ControllerHandle<Dma = M>>(
        &mut self,
        controller: &C,
    ) -> Result<(), NvmeError<ErrorOf<C>>> {
        if self.asked || !self.wants_events {
            return Ok(());
        }
        self.asked = true;
        let request = Command {
            opcode: opcode::ASYNC_EVENT_REQUEST,
            cid: EVENT_CID,
            ..Command::default()
        };
        self.give(controller, &request)
    }

    /// Takes a completion that is none of the command's: that of the request for an event.
    fn event(&mut self, completed: Completed, answer: u32) -> Result<(), Misfit> {
        let id = completed.cid();
        if completed.sqid() != 0 {
            let id = completed.sqid();
            return Err(Misfit::Queue { id });
        }
        if !self.fits(completed) {
            let head = completed.sqhd();
            return Err(Misfit::Head { head });
        }
        if id != EVENT_CID || !self.asked {
            return Err(Misfit::Command { id });
        }
        self.asked = false;
        match Status::from_bits(completed.status()) {
            None => {
                if self.events.is_full() {
                    // The newest say more; the log pages have all.
                    self.events.pop_front();
                }
                let _ = self.events.push_back(Event::parse(answer));
            }
            // It is not asked again.
            Some(_) => self.wants_events = false,
        }
        Ok(())
    }

    /// Tells whether a completion names a place that the submission queue has.
    fn fits(&self, completed: Completed) -> bool {
        usize::from(completed.sqhd()) < self.sq.len()
    }

    /// Gives a command to the device.
    fn give<C: ControllerHandle<Dma = M>>(
        &mut self,
        controller: &C,
        command: &Command,
    ) -> Result<(), NvmeError<ErrorOf<C>>> {
        self.sq.put(command);
        let mut doorbell = self.doorbell(controller, Side::Submission)?;
        match self.sq.ring() {
            Some((old, new)) => Ok(doorbell.ring(old, new)?),
            None => Ok(()),
        }
    }

    /// Tells the device that a completion was taken.
    // It has two callers, and costs an image 96 bytes where it is inlined.
    #[inline(never)]
    fn acknowledge<C: ControllerHandle<Dma = M>>(
        &mut self,
        controller: &C,
    ) -> Result<(), NvmeError<ErrorOf<C>>> {
        let mut doorbell = self.doorbell(controller, Side::Completion)?;
        let (old, new) = self.cq.ring();
        Ok(doorbell.ring(old, new)?)
    }

    /// Returns a doorbell of the admin queue, which has no shadow.
    fn doorbell<C: ControllerHandle<Dma = M>>(
        &self,
        controller: &C,
        side: Side,
    ) -> Result<Doorbell<C>, NvmeError<ErrorOf<C>>> {
        let offset = doorbell::offset(0, side, controller.capabilities().stride_shift());
        Doorbell::new(controller, offset, false).ok_or(controller.short())
    }
}
