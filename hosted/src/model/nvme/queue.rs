//! Queues, doorbells, and the way of a command from one to the other.

use std::collections::VecDeque;

use super::control::NvmeFault;
use super::{Nvme, prp, status};
use crate::model::Bus;

/// A submission queue.
#[derive(Debug)]
pub(super) struct SubmissionQueue {
    pub(super) completion: u16,
    base: u64,
    len: u16,
    pub(super) head: u16,
    pub(super) tail: u16,
}

/// A completion queue.
#[derive(Debug)]
pub(super) struct CompletionQueue {
    base: u64,
    len: u16,
    pub(super) head: u16,
    pub(super) tail: u16,
    phase: u16,
    /// Its interrupt vector, if it interrupts.
    vector: Option<u16>,
    /// What there is no room for.
    waiting: VecDeque<[u8; 16]>,
}

/// A command, as it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) queue: u16,
    pub(super) opcode: u8,
    pub(super) id: u16,
    pub(super) namespace: u32,
    pub(super) metadata: u64,
    pub(super) first: u64,
    pub(super) second: u64,
    /// Dwords 10 to 15.
    pub(super) dwords: [u32; 6],
}

/// How a command ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) queue: u16,
    pub(super) id: u16,
    pub(super) answer: u32,
    /// Without the phase.
    pub(super) status: u16,
    pub(super) fault: Option<NvmeFault>,
}

impl SubmissionQueue {
    pub(super) const fn new(completion: u16, base: u64, len: u16) -> Self {
        Self {
            completion,
            base,
            len,
            head: 0,
            tail: 0,
        }
    }
}

impl CompletionQueue {
    pub(super) const fn new(base: u64, len: u16, vector: Option<u16>) -> Self {
        Self {
            base,
            len,
            head: 0,
            tail: 0,
            phase: 1,
            vector,
            waiting: VecDeque::new(),
        }
    }

    const fn is_full(&self) -> bool {
        let next = self.tail.wrapping_add(1);
        (if next == self.len { 0 } else { next }) == self.head
    }
}

impl Entry {
    fn parse(queue: u16, bytes: &[u8; 64]) -> Self {
        let (words, _) = bytes.as_chunks::<4>();
        let dword = |index: usize| {
            let bytes = words.get(index).copied().unwrap_or_default();
            u32::from_le_bytes(bytes)
        };
        let qword = |index: usize| {
            u64::from(dword(index)) | u64::from(dword(index.saturating_add(1))) << 32
        };
        let [opcode, _, low, high] = dword(0).to_le_bytes();
        Self {
            queue,
            opcode,
            id: u16::from_le_bytes([low, high]),
            namespace: dword(1),
            metadata: qword(4),
            first: qword(6),
            second: qword(8),
            dwords: [
                dword(10),
                dword(11),
                dword(12),
                dword(13),
                dword(14),
                dword(15),
            ],
        }
    }

    /// Returns the first of the dwords in halves: a queue's number and length, say.
    pub(super) const fn halves(&self) -> (u16, u16) {
        let [a, b, c, d] = self.dwords[0].to_le_bytes();
        (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
    }

    /// Tells whether it has memory for data: all but flushes and writes of zeros have.
    const fn has_data(&self) -> bool {
        self.queue == 0 || !matches!(self.opcode, 0x00 | 0x08)
    }

    /// Returns the first block.
    pub(super) fn lba(&self) -> u64 {
        u64::from(self.dwords[0]) | u64::from(self.dwords[1]) << 32
    }
}

impl Completion {
    /// Returns the entry as it waits to be posted, when its phase is set. `head` is the place in
    /// the submission queue.
    fn bytes(self, mut head: u16) -> [u8; 16] {
        let (mut queue, mut id) = (self.queue, self.id);
        let mut flips = 0;
        match self.fault {
            Some(NvmeFault::WrongId(other)) => id = other,
            Some(NvmeFault::WrongQueue(other)) => queue = other,
            Some(NvmeFault::WrongHead(other)) => head = other,
            Some(NvmeFault::WrongPhase) => flips = 1,
            _ => (),
        }
        let mut bytes = [0; 16];
        let fields = [
            (0, &self.answer.to_le_bytes()[..]),
            (8, &head.to_le_bytes()),
            (10, &queue.to_le_bytes()),
            (12, &id.to_le_bytes()),
            (14, &(self.status << 1 | flips).to_le_bytes()),
        ];
        for (at, field) in fields {
            let places = bytes.iter_mut().skip(at);
            places.zip(field).for_each(|(to, from)| *to = *from);
        }
        bytes
    }
}

impl Nvme {
    /// Takes a write to a doorbell, `at` bytes from the first.
    pub(super) fn doorbell(&mut self, at: u64, value: u32, bus: &mut Bus<'_>) {
        self.shared().counts.doorbells += 1;
        if !self.is_running() {
            return;
        }
        let index = at / self.stride();
        let (Ok(queue), Ok(value)) = (u16::try_from(index / 2), u16::try_from(value)) else {
            return;
        };
        let is_known = if index.is_multiple_of(2) {
            self.set_tail(queue, value)
        } else {
            self.set_head(queue, value)
        };
        if !is_known || !at.is_multiple_of(self.stride()) {
            // A doorbell of no queue, or a value that is none: an event of the kind error.
            self.raise_event(0x0001_0000 | u32::from(is_known) << 8, bus);
            return;
        }
        if index == 0
            && let Some((values, _)) = self.shadow
        {
            // As QEMU does, for drivers that leave the admin queue out.
            let tail = u32::from(value).to_le_bytes();
            if bus.dma_write(values, &tail).is_err() {
                self.die();
                return;
            }
        }
        self.post(queue, bus);
        self.take(bus);
    }

    pub(super) fn set_tail(&mut self, queue: u16, tail: u16) -> bool {
        match self.submissions.get_mut(&queue) {
            Some(queue) if tail < queue.len => {
                queue.tail = tail;
                true
            }
            _ => false,
        }
    }

    pub(super) fn set_head(&mut self, queue: u16, head: u16) -> bool {
        match self.completions.get_mut(&queue) {
            Some(queue) if head < queue.len => {
                queue.head = head;
                true
            }
            _ => false,
        }
    }

    /// Takes commands from all queues.
    pub(super) fn take(&mut self, bus: &mut Bus<'_>) {
        if self.shadow.is_some() {
            self.read_shadow(bus);
        }
        let mut took_any = false;
        while self.is_running()
            && let Some(entry) = self.next_entry(bus)
        {
            took_any |= entry.queue != 0;
            self.shared().counts.commands += 1;
            let fault = self.shared().fault(entry.queue);
            match fault {
                Some(NvmeFault::Hang) => {
                    self.shared().counts.hung += 1;
                    self.hanging.push(entry);
                }
                Some(NvmeFault::Fatal) => {
                    self.die();
                    return;
                }
                Some(NvmeFault::Gone) => {
                    self.shared().is_gone = true;
                    return;
                }
                _ => self.execute(&entry, fault, bus),
            }
        }
        if took_any {
            self.look_for_more(bus);
        }
    }

    /// Makes a command, and completes it at once or after the time that it takes.
    fn execute(&mut self, entry: &Entry, fault: Option<NvmeFault>, bus: &mut Bus<'_>) {
        let done = match fault {
            Some(NvmeFault::Status(status)) => Err(status),
            _ if entry.queue == 0 => self.admin(entry, bus),
            _ => self.io(entry, bus).map(|()| Some(0)),
        };
        let (answer, status) = match done {
            // It completes later.
            Ok(None) => return,
            Ok(Some(answer)) => (answer, status::SUCCESS),
            Err(status) => {
                self.log_error(entry, status);
                (0, status)
            }
        };
        let completion = Completion {
            queue: entry.queue,
            id: entry.id,
            answer,
            status,
            fault,
        };
        if entry.queue == 0 || self.options.latency == 0 {
            self.complete(completion, bus);
        } else {
            self.slow.push_back((self.options.latency, completion));
        }
    }

    /// Returns the next command of any queue.
    fn next_entry(&mut self, bus: &mut Bus<'_>) -> Option<Entry> {
        let (id, queue) = self
            .submissions
            .iter_mut()
            .find(|(_, queue)| queue.head != queue.tail)?;
        let mut bytes = [0; 64];
        let at = queue
            .base
            .wrapping_add(u64::from(queue.head).wrapping_mul(64));
        let id = *id;
        if bus.dma_read(at, &mut bytes).is_err() {
            self.die();
            return None;
        }
        let next = queue.head.wrapping_add(1);
        queue.head = if next == queue.len { 0 } else { next };
        Some(Entry::parse(id, &bytes))
    }

    /// Lets commands that take time go on.
    pub(super) fn finish_slow(&mut self, bus: &mut Bus<'_>) {
        for (steps, _) in &mut self.slow {
            *steps = steps.saturating_sub(1);
        }
        while let Some((0, completion)) = self.slow.front().copied() {
            self.slow.pop_front();
            self.complete(completion, bus);
        }
    }

    /// Writes garbage to the memory of commands that hang, as a device may until it has stopped.
    pub(super) fn scribble(&mut self, bus: &mut Bus<'_>) {
        for entry in self.hanging.iter().filter(|entry| entry.has_data()) {
            let garbage = [0xdb; 64];
            // A fault is kept by the bus.
            let _ = prp::put(entry, &garbage, bus);
        }
    }

    /// Completes a command.
    pub(super) fn complete(&mut self, completion: Completion, bus: &mut Bus<'_>) {
        let Some(submission) = self.submissions.get(&completion.queue) else {
            return;
        };
        let (into, head) = (submission.completion, submission.head);
        let times = match completion.fault {
            Some(NvmeFault::Twice) => 2,
            _ => 1,
        };
        let Some(ring) = self.completions.get_mut(&into) else {
            return;
        };
        for _ in 0..times {
            ring.waiting.push_back(completion.bytes(head));
        }
        self.post(into, bus);
    }

    /// Posts what waits for a completion queue, as far as it has room.
    fn post(&mut self, id: u16, bus: &mut Bus<'_>) {
        let Some(queue) = self.completions.get_mut(&id) else {
            return;
        };
        let mut has_posted = false;
        while !queue.is_full()
            && let Some(mut bytes) = queue.waiting.pop_front()
        {
            bytes[14] ^= u8::try_from(queue.phase).unwrap_or(0);
            let at = queue
                .base
                .wrapping_add(u64::from(queue.tail).wrapping_mul(16));
            if bus.dma_write(at, &bytes).is_err() {
                self.status |= super::FATAL;
                return;
            }
            queue.tail = queue.tail.wrapping_add(1);
            if queue.tail == queue.len {
                queue.tail = 0;
                queue.phase ^= 1;
            }
            has_posted = true;
        }
        let vector = queue.vector;
        if bus.uses_messages() {
            if has_posted && let Some(vector) = vector {
                // A fault is kept by the bus.
                let _ = bus.send_message(vector.into());
            }
        } else {
            let is_asserted = self
                .completions
                .values()
                .any(|queue| queue.vector.is_some() && queue.head != queue.tail);
            bus.set_intx(is_asserted && self.interrupt_mask & 1 == 0);
        }
    }
}
