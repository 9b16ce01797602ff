//! Admin commands, events and logs.

use super::namespace::FORMATS;
use super::queue::{Completion, CompletionQueue, Entry, SubmissionQueue};
use super::{Nvme, VERSION, prp, status};
use crate::sim::Bus;

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

/// Above which temperature it warns, in Kelvin, and which it has.
pub(super) const WARNING_TEMPERATURE: u16 = 343;
const TEMPERATURE: u16 = 323;

/// How many requests for events it takes, entries its error log has, and events it keeps.
const EVENT_REQUESTS: usize = 4;
const ERRORS: usize = 16;
const EVENTS: usize = 16;

/// The event that namespaces changed, in the feature and as it is told.
const NAMESPACE_EVENT_BIT: u32 = 1 << 8;
const NAMESPACE_EVENT: u32 = 0x0004_0002;
/// Formats of more than 16 bits of guard, in the attributes (CTRATT).
const EXTENDED_FORMATS: u32 = 1 << 15;
/// The event of a temperature above the threshold.
const TEMPERATURE_EVENT: u32 = 0x0002_0101;

/// How many vectors its MSI-X table has.
const VECTORS: u16 = 65;

/// Puts bytes at a place of a page.
fn put(page: &mut [u8], at: usize, bytes: &[u8]) {
    let places = page.iter_mut().skip(at);
    places.zip(bytes).for_each(|(to, from)| *to = *from);
}

impl Nvme {
    /// Makes an admin command; none where it completes later.
    pub(super) fn admin(&mut self, entry: &Entry, bus: &mut Bus<'_>) -> Result<Option<u32>, u16> {
        if self.shared().refused.contains(&entry.opcode) {
            return Err(status::INVALID_OPCODE | status::DO_NOT_RETRY);
        }
        match entry.opcode {
            opcode::CREATE_COMPLETION_QUEUE => self.create_completions(entry),
            opcode::CREATE_SUBMISSION_QUEUE => self.create_submissions(entry),
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

    /// The number, the length and the address of a queue that is created.
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

    fn identify(&mut self, entry: &Entry, bus: &mut Bus<'_>) -> Result<u32, u16> {
        let mut page = [0; 4096];
        match entry.dwords[0] & 0xff {
            0 => self.identify_namespace(entry.namespace, &mut page)?,
            1 => self.identify_controller(&mut page),
            // Of the NVM command set, which is number 0.
            5 if entry.dwords[1] >> 24 == 0 => {
                self.identify_formats(entry.namespace, &mut page)?;
            }
            2 if self.options.lists_namespaces => {
                let shared = self.shared();
                let ids = shared.namespaces.keys().filter(|id| **id > entry.namespace);
                for (index, id) in ids.take(1024).enumerate() {
                    put(&mut page, index * 4, &id.to_le_bytes());
                }
            }
            _ => return Err(status::INVALID_FIELD | status::DO_NOT_RETRY),
        }
        prp::put(entry, &page, bus).map(|()| 0)
    }

    fn identify_controller(&self, page: &mut [u8]) {
        put(page, 0, &0x1b36_u16.to_le_bytes());
        put(page, 2, &0x1af4_u16.to_le_bytes());
        put(page, 4, b"simulated           ");
        put(page, 24, b"Simulated NVMe Controller               ");
        put(page, 64, b"1.0     ");
        put(page, 77, &[self.options.transfer_shift]);
        put(page, 80, &VERSION.to_le_bytes());
        // Events of changed namespaces.
        put(page, 92, &NAMESPACE_EVENT_BIT.to_le_bytes());
        put(page, 96, &EXTENDED_FORMATS.to_le_bytes());
        let shadow = u16::from(self.options.shadow_doorbells) << 8;
        put(page, 256, &shadow.to_le_bytes());
        let less_one = |count: usize| u8::try_from(count - 1).unwrap_or(0);
        put(page, 258, &[3, less_one(EVENT_REQUESTS)]);
        put(page, 262, &[less_one(ERRORS)]);
        put(page, 512, &[0x66, 0x44]);
        put(page, 516, &1024_u32.to_le_bytes());
        // Dataset management and write zeroes.
        put(page, 520, &0x000c_u16.to_le_bytes());
        put(page, 525, &[1]);
    }

    fn identify_namespace(&self, id: u32, page: &mut [u8]) -> Result<(), u16> {
        let shared = self.shared();
        if id == 0 || id > 1024 {
            return Err(status::INVALID_NAMESPACE | status::DO_NOT_RETRY);
        }
        // One that could be and is not is all zeros.
        let Some(namespace) = shared.namespaces.get(&id) else {
            return Ok(());
        };
        for at in [0, 8, 16] {
            put(page, at, &namespace.blocks.to_le_bytes());
        }
        let extended = u8::from(namespace.is_extended) << 4;
        put(page, 25, &[u8::try_from(FORMATS.len() - 1).unwrap_or(0)]);
        put(page, 26, &[namespace.format() | extended]);
        // Every type, at the beginning of metadata.
        put(page, 28, &[0x0f]);
        let kind = namespace.protection.map_or(0, |protection| protection.kind);
        put(page, 29, &[kind | 1 << 3]);
        // Deallocated blocks read as zeros.
        put(page, 33, &[1]);
        for (index, (shift, metadata)) in FORMATS.iter().enumerate() {
            put(page, 128 + index * 4, &metadata.to_le_bytes());
            put(page, 130 + index * 4, &[*shift]);
        }
        Ok(())
    }

    /// Where formats have guards of more than 16 bits, and storage tags.
    fn identify_formats(&self, id: u32, page: &mut [u8]) -> Result<(), u16> {
        let shared = self.shared();
        let namespace = shared
            .namespaces
            .get(&id)
            .ok_or(status::INVALID_NAMESPACE | status::DO_NOT_RETRY)?;
        if let Some(protection) = namespace.protection {
            let at = 12 + usize::from(namespace.format()) * 4;
            put(page, at, &protection.elbaf().to_le_bytes());
        }
        Ok(())
    }

    fn log_page(&mut self, entry: &Entry, bus: &mut Bus<'_>) -> Result<u32, u16> {
        let dwords = u64::from(entry.dwords[0] >> 16) + 1;
        let len = usize::try_from(dwords).unwrap_or(0).min(1024) * 4;
        let mut page = std::vec![0; len.max(1024)];
        let kind = match entry.dwords[0] & 0xff {
            1 => {
                for (index, error) in self.errors.iter().enumerate() {
                    put(&mut page, index * 64, error);
                }
                0
            }
            2 => {
                let is_hot = TEMPERATURE >= self.temperature_threshold;
                put(&mut page, 0, &[u8::from(is_hot) << 1]);
                put(&mut page, 1, &TEMPERATURE.to_le_bytes());
                put(&mut page, 3, &[100, 10]);
                put(&mut page, 176, &self.error_count.to_le_bytes());
                1
            }
            4 => 2,
            _ => return Err(status::INVALID_LOG_PAGE | status::DO_NOT_RETRY),
        };
        page.truncate(len);
        prp::put(entry, &page, bus)?;
        self.masked_kinds &= !(1 << kind);
        self.tell_events(bus);
        Ok(0)
    }

    fn set_feature(&mut self, entry: &Entry, bus: &mut Bus<'_>) -> Result<u32, u16> {
        match entry.dwords[0] & 0xff {
            0x04 => {
                let threshold = entry.dwords[1] & 0xffff;
                self.temperature_threshold = u16::try_from(threshold).unwrap_or(u16::MAX);
                if TEMPERATURE >= self.temperature_threshold && self.event_mask & 2 != 0 {
                    self.raise_event(TEMPERATURE_EVENT, bus);
                }
                Ok(0)
            }
            0x07 => {
                let last = u32::from(self.options.queues) - 1;
                Ok(last | last << 16)
            }
            0x0b => {
                self.event_mask = entry.dwords[1];
                Ok(0)
            }
            _ => Err(status::INVALID_FIELD | status::DO_NOT_RETRY),
        }
    }

    fn feature(&self, entry: &Entry) -> Result<u32, u16> {
        match entry.dwords[0] & 0xff {
            0x04 => Ok(self.temperature_threshold.into()),
            0x06 => Ok(1),
            0x0b => Ok(self.event_mask),
            _ => Err(status::INVALID_FIELD | status::DO_NOT_RETRY),
        }
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

    /// Something happened; it is told as its kind is not masked and a request is there.
    pub(super) fn raise_event(&mut self, event: u32, bus: &mut Bus<'_>) {
        if self.events.len() < EVENTS {
            self.events.push_back(event);
        }
        self.tell_events(bus);
    }

    fn tell_events(&mut self, bus: &mut Bus<'_>) {
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

    /// Tells that namespaces changed, where they did.
    pub(super) fn notice(&mut self, bus: &mut Bus<'_>) {
        let has_changed = core::mem::take(&mut self.shared().has_changed);
        if has_changed && self.event_mask & NAMESPACE_EVENT_BIT != 0 {
            self.raise_event(NAMESPACE_EVENT, bus);
        }
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
