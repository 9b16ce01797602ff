//! A submission queue and its completion queue, in memory that the device reads and writes (NVM
//! Express Base Specification 1.4, 4.1 to 4.6).

use vfio_core::dma::{Buffer, Direction, DmaError, DmaHandle};
use vfio_core::mmio::field::{ReadPureWrite, WriteOnly};
use vfio_core::mmio::{Array, Registers as _, Width as _, Window, after_status};
use vfio_core::registers;
use vfio_core::sys::Errno;

registers! {
    /// A command as the device reads it. Dwords 2 and 3 have no part here: no command has anything
    /// in them, and they stay as the memory was made, zero.
    pub(super) struct Submission: 0x40 {
        /// The opcode, the command's identifier and the namespace.
        0x00 head: WriteOnly<u64>,
        0x10 metadata: WriteOnly<u64>,
        0x18 first: WriteOnly<u64>,
        0x20 second: WriteOnly<u64>,
        0x28 dwords10: WriteOnly<u64>,
        0x30 dwords12: WriteOnly<u64>,
        0x38 dwords14: WriteOnly<u64>,
    }
}

registers! {
    /// How a command ended, as the device writes it.
    pub(super) struct CompletionEntry: 0x10 {
        /// What the command answers.
        0x00 answer: ReadPureWrite<u64>,
        /// [`Completed`].
        0x08 completed: ReadPureWrite<u64>,
    }
}

/// A command. Numbers are named after the dwords of its entry.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Command {
    pub(super) opcode: u8,
    /// The identifier of the command.
    pub(super) cid: u16,
    pub(super) nsid: u32,
    /// Where the metadata are.
    pub(super) mptr: u64,
    pub(super) prp1: u64,
    /// The second PRP entry, or the address of a list of the others.
    pub(super) prp2: u64,
    /// Dword 10, and dword 11 in the upper half.
    pub(super) dwords10: u64,
    /// Dword 12, and dword 13 in the upper half.
    pub(super) dwords12: u64,
    /// Dword 14, and dword 15 in the upper half.
    pub(super) dwords14: u64,
}

/// How a command ended: the second half of its completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Completed(pub(super) u64);

/// A queue's number where a completion has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueBits(u32);

impl QueueBits {
    pub(super) fn new(queue: u16) -> Self {
        Self(halves(0, queue))
    }
}

/// Two rings.
#[derive(Debug)]
pub(super) struct Rings<M: DmaHandle> {
    submissions: Array<Buffer<M>, Submission>,
    completions: Array<Buffer<M>, CompletionEntry>,
    /// Where the next command goes; past the last entry it is the first.
    tail: usize,
    /// Where the next completion comes from; past the last entry it is the first.
    head: usize,
    /// How many completions were taken since [`Rings::forget_taken`].
    taken: usize,
    /// The phase of completions that are new: [`PHASE`] or 0.
    phase: u64,
    /// Whether the completion ring was gone round.
    has_wrapped: bool,
}

/// The bit of a completion that changes each time the ring is gone round.
const PHASE: u64 = 1 << 48;

/// Dwords of 32 bits in one word.
#[inline(always)]
pub(super) fn dwords(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// Two numbers of 16 bits in a dword.
#[inline(always)]
pub(super) fn halves(low: u16, high: u16) -> u32 {
    u32::from(low) | u32::from(high) << 16
}

/// A place in a ring of `len` entries, at most 65536, as a doorbell takes it: past the last it is
/// the first.
#[inline(always)]
fn place(place: usize, len: usize) -> u16 {
    if place >= len {
        0
    } else {
        u16::truncate(u64::try_from(place).unwrap_or(0))
    }
}

/// The memory is shorter than it was asked for.
const TOO_SHORT: DmaError = DmaError::Memory(Errno::ENOMEM);

impl<M: DmaHandle> Rings<M> {
    /// Rings of so many entries, empty.
    pub(super) fn new(dma: &M, submissions: u16, completions: u16) -> Result<Self, DmaError> {
        let (submissions, completions) = (usize::from(submissions), usize::from(completions));
        let memory = |len: usize, direction: Direction| Buffer::new(dma.clone(), len, direction);
        let len = Submission::SIZE.saturating_mul(submissions);
        let entries = Window::new(memory(len, Direction::ToDevice)?);
        let submissions = entries.into_array(0, submissions);
        let len = CompletionEntry::SIZE.saturating_mul(completions);
        let entries = Window::new(memory(len, Direction::FromDevice)?);
        let completions = entries.into_array(0, completions);
        Ok(Self {
            submissions: submissions.map_err(|_| TOO_SHORT)?,
            completions: completions.map_err(|_| TOO_SHORT)?,
            tail: 0,
            head: 0,
            taken: 0,
            phase: PHASE,
            has_wrapped: false,
        })
    }

    /// Empties the rings, which no device uses now.
    pub(super) fn clear(&mut self) {
        for index in 0..self.completions.len() {
            if let Some(mut entry) = self.completions.block(index) {
                let Ok(()) = entry.write(CompletionEntry::completed, 0);
            }
        }
        (self.tail, self.head, self.phase) = (0, 0, PHASE);
        self.has_wrapped = false;
    }

    /// Where the device finds the submission queue.
    pub(super) fn submissions_iova(&self) -> u64 {
        self.submissions.access().iova()
    }

    /// Where the device finds the completion queue.
    pub(super) fn completions_iova(&self) -> u64 {
        self.completions.access().iova()
    }

    /// Puts a command at the tail. There must be room: the device has taken what was there.
    #[inline(always)]
    pub(super) fn put(&mut self, command: &Command) {
        if self.tail >= self.submissions.len() {
            self.first_again();
        }
        let Some(mut entry) = self.submissions.block(self.tail) else {
            return;
        };
        let id = halves(u16::from(command.opcode), command.cid);
        let head = dwords(id, command.nsid);
        let Ok(()) = entry.write(Submission::head, head);
        let Ok(()) = entry.write(Submission::metadata, command.mptr);
        let Ok(()) = entry.write(Submission::first, command.prp1);
        let Ok(()) = entry.write(Submission::second, command.prp2);
        let Ok(()) = entry.write(Submission::dwords10, command.dwords10);
        let Ok(()) = entry.write(Submission::dwords12, command.dwords12);
        let Ok(()) = entry.write(Submission::dwords14, command.dwords14);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Goes on with the first submission after the last one.
    #[cold]
    fn first_again(&mut self) {
        self.tail = 0;
    }

    /// Takes the next completion, if it is there.
    #[inline(always)]
    pub(super) fn take(&mut self) -> Option<Completed> {
        let head = self.head;
        let Some(entry) = self.completions.block(head) else {
            return self.take_first();
        };
        let Ok(completed) = entry.get(CompletionEntry::completed);
        if (completed ^ self.phase) & PHASE != 0 {
            return None;
        }
        after_status();
        self.head = head.wrapping_add(1);
        self.taken = self.taken.wrapping_add(1);
        Some(Completed(completed))
    }

    /// Takes the first completion after the last one, if it is there.
    #[cold]
    #[inline(never)]
    fn take_first(&mut self) -> Option<Completed> {
        if !self.is_ready() {
            return None;
        }
        let first = self.peek();
        after_status();
        self.head = self.head.wrapping_add(1);
        self.taken = self.taken.wrapping_add(1);
        first
    }

    /// Goes on with the first completion after the last one, and the other phase.
    #[cold]
    fn next_round(&mut self) {
        self.head = 0;
        self.phase ^= PHASE;
        self.has_wrapped = true;
    }

    /// The tail as a doorbell takes it.
    #[inline(always)]
    pub(super) fn tail(&self) -> u16 {
        place(self.tail, self.submissions.len())
    }

    /// The head as a doorbell takes it.
    pub(super) fn head(&self) -> u16 {
        place(self.head, self.completions.len())
    }

    /// How many completions were taken that the device may not know of.
    #[inline(always)]
    pub(super) const fn taken(&self) -> usize {
        self.taken
    }

    /// The device knows of all that were taken.
    pub(super) const fn forget_taken(&mut self) {
        self.taken = 0;
    }

    /// What stands in the place of the next completion, new or not.
    #[inline(always)]
    pub(super) fn peek(&mut self) -> Option<Completed> {
        if self.head >= self.completions.len() {
            self.next_round();
        }
        let entry = self.completions.block(self.head)?;
        let Ok(completed) = entry.get(CompletionEntry::completed);
        Some(Completed(completed))
    }

    /// What the command whose completion was taken last answers.
    pub(super) fn answer(&mut self) -> u32 {
        let last = self.completions.len().saturating_sub(1);
        let taken = self.head.checked_sub(1).unwrap_or(last);
        let Some(entry) = self.completions.block(taken) else {
            return 0;
        };
        let Ok(answer) = entry.get(CompletionEntry::answer);
        u32::truncate(answer)
    }

    /// Whether the next completion is there.
    #[inline(always)]
    pub(super) fn is_ready(&mut self) -> bool {
        let there = self.peek();
        let phase = self.phase;
        there.is_some_and(|completed| (completed.0 ^ phase) & PHASE == 0)
    }

    /// Whether the completion of a command is there, be it behind others.
    pub(super) fn has(&mut self, cid: u16) -> bool {
        if self.head >= self.completions.len() {
            self.next_round();
        }
        let (mut index, mut phase) = (self.head, self.phase);
        for _ in 0..self.completions.len() {
            let Some(entry) = self.completions.block(index) else {
                return false;
            };
            let Ok(completed) = entry.get(CompletionEntry::completed);
            if (completed ^ phase) & PHASE != 0 {
                return false;
            }
            if Completed(completed).cid() == cid {
                return true;
            }
            index = index.wrapping_add(1);
            if index >= self.completions.len() {
                index = 0;
                phase ^= PHASE;
            }
        }
        false
    }

    /// Whether there is no completion in the place of the next, not even an old one.
    pub(super) fn is_untouched(&mut self) -> bool {
        let there = self.peek();
        !self.has_wrapped && there.is_none_or(|completed| completed.0 == 0)
    }

    /// Whether the places of completions have no old ones yet.
    pub(super) const fn is_first_round(&self) -> bool {
        !self.has_wrapped
    }

    /// How many commands the submission queue has room for, and one.
    #[inline]
    pub(super) const fn submissions_len(&self) -> usize {
        self.submissions.len()
    }
}

impl Completed {
    /// How far the device has read the submission queue.
    #[inline]
    pub(super) fn sqhd(self) -> u16 {
        u16::truncate(self.0)
    }

    /// Which submission queue the command was in.
    #[inline]
    pub(super) fn sqid(self) -> u16 {
        u16::truncate(self.0 >> 16)
    }

    /// The queue and the head, in one number that is no more than the largest possible head where
    /// the queue is `queue`.
    #[inline(always)]
    pub(super) fn head_in(self, queue: QueueBits) -> u32 {
        u32::truncate(self.0) ^ queue.0
    }

    /// The identifier of the command.
    #[inline]
    pub(super) fn cid(self) -> u16 {
        u16::truncate(self.0 >> 32)
    }

    /// The status, with the phase in its lowest bit.
    #[inline]
    pub(super) fn status(self) -> u16 {
        u16::truncate(self.0 >> 48)
    }
}
