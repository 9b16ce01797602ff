//! Admin commands and events.

use super::identify::{ERRORS, EVENT_REQUESTS, put};
use super::queue::{Completion, CompletionQueue, Entry, SubmissionQueue};
use super::{Nvme, NvmeRefusal, VECTORS, status};
use crate::model::Bus;

mod opcode {
    pub(super) const DELETE_SUBMISSION_QUEUE: u8 = 0x00;
    pub(super) const CREATE_SUBMISSION_QUEUE: u8 = 0x01;
    pub(super) const GET_LOG_PAGE: u8 = 0x02;
    pub(super) const DELETE_COMPLETION_QUEUE: u8 = 0x04;
    pub(super) const CREATE_COMPLETION_QUEUE: u8 = 0x05;
    pub(super) const IDENTIFY: u8 = 0x06;
    pub(super) const ABORT: u8 = 0x08;
    pub(super) const SET_FEATURES: u8 = 0x09;
    pub(super) const GET_FEATURES: u8 = 0x0a;
    pub(super) const EVENT_REQUEST: u8 = 0x0c;
    pub(super) const DOORBELL_BUFFERS: u8 = 0x7c;
}

/// How many events it keeps.
const EVENTS: usize = 16;

impl Nvme {
    /// Makes an admin command; none where it completes later.
    pub(super) fn admin(&mut self, entry: &Entry, bus: &mut Bus<'_>) -> Result<Option<u32>, u16> {
        self.refuse(entry)?;
        match entry.opcode {
            opcode::CREATE_COMPLETION_QUEUE if self.has_commands() => {
                self.create_completions(entry)
            }
            opcode::CREATE_SUBMISSION_QUEUE if self.has_commands() => {
                self.create_submissions(entry)
            }
            opcode::DELETE_SUBMISSION_QUEUE => self.delete_submissions(entry, bus),
            opcode::DELETE_COMPLETION_QUEUE => self.delete_completions(entry),
            opcode::IDENTIFY => self.identify(entry, bus),
            opcode::GET_LOG_PAGE => self.log_page(entry, bus),
            opcode::SET_FEATURES => self.set_feature(entry, bus),
            opcode::GET_FEATURES => self.feature(entry),
            opcode::ABORT => Ok(self.abort(entry, bus)),
            opcode::EVENT_REQUEST => self.request_event(entry, bus),
            opcode::DOORBELL_BUFFERS if self.options.shadow_doorbells => {
                if (entry.first | entry.second) & 0xfff != 0 {
                    return Err(status::INVALID_FIELD | status::DO_NOT_RETRY);
                }
                self.shadow = Some((entry.first, entry.second));
                Ok(0)
            }
            _ => Err(status::INVALID_OPCODE | status::DO_NOT_RETRY),
        }
        .map(|answer| (entry.opcode != opcode::EVENT_REQUEST).then_some(answer))
    }

    /// Refuses what a test wants to see refused.
    fn refuse(&self, entry: &Entry) -> Result<(), u16> {
        let shared = self.shared();
        let [part, ..] = entry.dwords[0].to_le_bytes();
        let is_refused = |refusal| shared.refused.contains(&refusal);
        let refused = match entry.opcode {
            opcode if is_refused(NvmeRefusal::Opcode(opcode)) => status::INVALID_OPCODE,
            opcode::IDENTIFY if is_refused(NvmeRefusal::Identify(part)) => status::INVALID_FIELD,
            opcode::SET_FEATURES | opcode::GET_FEATURES
                if is_refused(NvmeRefusal::Feature(part)) =>
            {
                status::INVALID_FIELD
            }
            opcode::GET_LOG_PAGE if is_refused(NvmeRefusal::Log(part)) => status::INVALID_LOG_PAGE,
            _ => return Ok(()),
        };
        Err(refused | status::DO_NOT_RETRY)
    }

    /// Returns the number, the length and the address of a queue that is created.
    fn new_queue(&self, entry: &Entry) -> Result<(u16, u16, u64), u16> {
        let (id, last) = entry.halves();
        let most = self.options.capabilities & 0xffff;
        if id == 0 || id > self.options.queues {
            return Err(status::INVALID_QUEUE_ID | status::DO_NOT_RETRY);
        }
        if last == 0 || u64::from(last) > most {
            return Err(status::INVALID_QUEUE_SIZE | status::DO_NOT_RETRY);
        }
        if entry.first & 0xfff != 0 || entry.dwords[1] & 1 == 0 {
            return Err(status::INVALID_FIELD | status::DO_NOT_RETRY);
        }
        Ok((id, last.saturating_add(1), entry.first))
    }

    fn create_completions(&mut self, entry: &Entry) -> Result<u32, u16> {
        let (id, len, base) = self.new_queue(entry)?;
        if self.completions.contains_key(&id) {
            return Err(status::INVALID_QUEUE_ID | status::DO_NOT_RETRY);
        }
        let vector = u16::try_from(entry.dwords[1] >> 16).unwrap_or(u16::MAX);
        let interrupts = entry.dwords[1] & 2 != 0;
        if interrupts && vector >= VECTORS {
            return Err(status::INVALID_INTERRUPT_VECTOR | status::DO_NOT_RETRY);
        }
        let vector = interrupts.then_some(vector);
        let queue = CompletionQueue::new(base, len, vector);
        self.completions.insert(id, queue);
        Ok(0)
    }

    fn create_submissions(&mut self, entry: &Entry) -> Result<u32, u16> {
        let (id, len, base) = self.new_queue(entry)?;
        if self.submissions.contains_key(&id) {
            return Err(status::INVALID_QUEUE_ID | status::DO_NOT_RETRY);
        }
        let completion = u16::try_from(entry.dwords[1] >> 16).unwrap_or(0);
        if completion == 0 || !self.completions.contains_key(&completion) {
            return Err(status::INVALID_COMPLETION_QUEUE | status::DO_NOT_RETRY);
        }
        let queue = SubmissionQueue::new(completion, base, len);
        self.submissions.insert(id, queue);
        Ok(0)
    }

    fn delete_submissions(&mut self, entry: &Entry, _: &mut Bus<'_>) -> Result<u32, u16> {
        let (id, _) = entry.halves();
        if id == 0 || self.submissions.remove(&id).is_none() {
            return Err(status::INVALID_QUEUE_ID | status::DO_NOT_RETRY);
        }
        // What was under way is given up.
        self.hanging.retain(|entry| entry.queue != id);
        self.slow.retain(|(_, completion)| completion.queue != id);
        Ok(0)
    }

    fn delete_completions(&mut self, entry: &Entry) -> Result<u32, u16> {
        let (id, _) = entry.halves();
        if self
            .submissions
            .values()
            .any(|queue| queue.completion == id)
        {
            return Err(status::INVALID_QUEUE_DELETION | status::DO_NOT_RETRY);
        }
        if id == 0 || self.completions.remove(&id).is_none() {
            return Err(status::INVALID_QUEUE_ID | status::DO_NOT_RETRY);
        }
        Ok(0)
    }

    /// Aborts a command that hangs or takes time; 1 where there is none.
    fn abort(&mut self, entry: &Entry, bus: &mut Bus<'_>) -> u32 {
        let (queue, id) = entry.halves();
        let hangs = |entry: &Entry| (entry.queue, entry.id) == (queue, id);
        let is_slow = |slow: &(u32, Completion)| (slow.1.queue, slow.1.id) == (queue, id);
        if let Some(at) = self.hanging.iter().position(hangs) {
            self.hanging.remove(at);
        } else if let Some(at) = self.slow.iter().position(is_slow) {
            self.slow.remove(at);
        } else {
            return 1;
        }
        let completion = Completion {
            queue,
            id,
            answer: 0,
            status: status::ABORT_REQUESTED,
            fault: None,
        };
        self.complete(completion, bus);
        0
    }

    fn request_event(&mut self, entry: &Entry, bus: &mut Bus<'_>) -> Result<u32, u16> {
        if self.event_requests.len() >= EVENT_REQUESTS {
            return Err(status::EVENT_LIMIT_EXCEEDED | status::DO_NOT_RETRY);
        }
        self.event_requests.push(entry.id);
        self.tell_events(bus);
        Ok(0)
    }

    /// Tells of an event, as long as its kind is not masked and a request is there.
    pub(super) fn raise_event(&mut self, event: u32, bus: &mut Bus<'_>) {
        if self.events.len() < EVENTS {
            self.events.push_back(event);
        }
        self.tell_events(bus);
    }

    pub(super) fn tell_events(&mut self, bus: &mut Bus<'_>) {
        let is_free = |event: &u32| self.masked_kinds & 1 << (event & 7) == 0;
        let Some(at) = self.events.iter().position(is_free) else {
            return;
        };
        if self.event_requests.is_empty() {
            return;
        }
        let (Some(event), id) = (self.events.remove(at), self.event_requests.remove(0)) else {
            return;
        };
        self.masked_kinds |= 1 << (event & 7);
        let completion = Completion {
            queue: 0,
            id,
            answer: event,
            status: status::SUCCESS,
            fault: None,
        };
        self.complete(completion, bus);
        self.tell_events(bus);
    }

    /// Keeps why a command failed.
    pub(super) fn log_error(&mut self, entry: &Entry, status: u16) {
        self.error_count += 1;
        let mut error = [0; 64];
        put(&mut error, 0, &self.error_count.to_le_bytes());
        put(&mut error, 8, &entry.queue.to_le_bytes());
        put(&mut error, 10, &entry.id.to_le_bytes());
        put(&mut error, 12, &(status << 1).to_le_bytes());
        put(&mut error, 14, &[0xff, 0xff]);
        put(&mut error, 16, &entry.lba().to_le_bytes());
        put(&mut error, 24, &entry.namespace.to_le_bytes());
        self.errors.push_front(error);
        self.errors.truncate(ERRORS);
    }
}
