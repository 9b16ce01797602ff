//! A completion queue, in memory that the device writes (NVM Express Base Specification 1.4, 4.1 and
//! 4.6).

use vfio_core::dma::{Buffer, Direction, DmaError, DmaHandle};
use vfio_core::mmio::field::ReadPureWrite;
use vfio_core::mmio::{Array, Registers as _, Width as _, Window, after_status};
use vfio_core::registers;

use super::entries::{TOO_SHORT, dword, index};

registers! {
    /// A completion queue entry.
    struct Entry: 0x10 {
        /// What the command answers, and a dword that no command of this driver's has.
        0x00 dw0_1: ReadPureWrite<u64>,
        /// [`Completed`].
        0x08 dw2_3: ReadPureWrite<u64>,
    }
}

/// How a command ended: dwords 2 and 3 of its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Completed(u64);

/// The phase tag (P), which changes each time the queue is gone round.
const PHASE: u64 = 1 << 48;

/// The SQID of a submission queue, where an entry has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sqid(u32);

/// A completion queue.
#[derive(Debug)]
pub(super) struct CompletionQueue<M: DmaHandle> {
    entries: Array<Buffer<M>, Entry>,
    /// Where the next completion comes from; past the last entry it is the first.
    head: usize,
    /// The phase tag of completions that are new: [`PHASE`] or 0.
    phase: u64,
    /// Whether it was gone round: there are old completions in its entries.
    has_wrapped: bool,
    /// How many completions were taken that the device may not know of.
    taken: usize,
    /// The head that the device knows of.
    rung: u16,
}

impl<M: DmaHandle> CompletionQueue<M> {
    /// Makes an empty queue of `entries` entries.
    pub(super) fn new(dma: &M, entries: u16) -> Result<Self, DmaError> {
        let count = usize::from(entries);
        let len = Entry::SIZE.saturating_mul(count);
        let memory = Buffer::new(dma.clone(), len, Direction::FromDevice)?;
        let entries = Window::new(memory).into_array(0, count);
        Ok(Self {
            entries: entries.map_err(|_| TOO_SHORT)?,
            head: 0,
            phase: PHASE,
            has_wrapped: false,
            taken: 0,
            rung: 0,
        })
    }

    /// Empties the queue, which no device uses now.
    pub(super) fn clear(&mut self) {
        for index in 0..self.entries.len() {
            if let Some(mut entry) = self.entries.block(index) {
                let Ok(()) = entry.write(Entry::dw2_3, 0);
            }
        }
        (self.head, self.phase, self.has_wrapped) = (0, PHASE, false);
        (self.taken, self.rung) = (0, 0);
    }

    /// Returns where the device finds it.
    pub(super) fn iova(&self) -> u64 {
        self.entries.access().iova()
    }

    /// Takes the next completion, if it is there.
    #[inline(always)]
    pub(super) fn take(&mut self) -> Option<Completed> {
        let next = self.peek()?;
        if !next.has_phase(self.phase) {
            return None;
        }
        after_status();
        self.head = self.head.wrapping_add(1);
        self.taken = self.taken.wrapping_add(1);
        Some(next)
    }

    /// Returns what stands in the place of the next completion, new or not.
    #[inline(always)]
    pub(super) fn peek(&mut self) -> Option<Completed> {
        match self.at(self.head) {
            Some(there) => Some(there),
            None => self.wrap(),
        }
    }

    /// Goes on with the first entry after the last one, and the other phase.
    #[cold]
    #[inline(never)]
    fn wrap(&mut self) -> Option<Completed> {
        self.head = 0;
        self.phase ^= PHASE;
        self.has_wrapped = true;
        self.at(0)
    }

    /// Returns what stands in an entry, if there is such an entry.
    #[inline(always)]
    fn at(&mut self, index: usize) -> Option<Completed> {
        let entry = self.entries.block(index)?;
        let Ok(there) = entry.get(Entry::dw2_3);
        Some(Completed(there))
    }

    /// Tells whether the next completion is there.
    pub(super) fn is_ready(&mut self) -> bool {
        let there = self.peek();
        there.is_some_and(|there| there.has_phase(self.phase))
    }

    /// Returns dword 0 of the completion that was taken last: what the command answers.
    pub(super) fn dw0(&mut self) -> u32 {
        let last = self.entries.len().saturating_sub(1);
        let taken = self.head.checked_sub(1).unwrap_or(last);
        let Some(entry) = self.entries.block(taken) else {
            return 0;
        };
        let Ok(answer) = entry.get(Entry::dw0_1);
        u32::truncate(answer)
    }

    /// Tells whether the completion of a command is there, perhaps behind others.
    pub(super) fn has(&mut self, cid: u16) -> bool {
        if self.head >= self.entries.len() {
            let _ = self.wrap();
        }
        let (mut index, mut phase) = (self.head, self.phase);
        for _ in 0..self.entries.len() {
            let Some(there) = self.at(index) else {
                return false;
            };
            if !there.has_phase(phase) {
                return false;
            }
            if there.cid() == cid {
                return true;
            }
            index = index.wrapping_add(1);
            if index >= self.entries.len() {
                index = 0;
                phase ^= PHASE;
            }
        }
        false
    }

    /// Tells whether the device never wrote the entry of the next completion.
    pub(super) fn is_untouched(&mut self) -> bool {
        let there = self.peek();
        !self.has_wrapped && there.is_none_or(|there| there == Completed(0))
    }

    /// Tells whether an entry that has `there` for the next completion was written since it had
    /// `before`.
    pub(super) fn is_written(&self, there: Completed, before: Completed) -> bool {
        there != before || !self.has_wrapped && there != Completed(0)
    }

    /// Returns the head, as its doorbell takes it.
    pub(super) fn head(&self) -> u16 {
        index(self.head, self.entries.len())
    }

    /// Returns how many completions were taken that the device may not know of.
    #[inline(always)]
    pub(super) const fn taken(&self) -> usize {
        self.taken
    }

    /// Returns the head that the device knew of and the one that it has to be told now.
    pub(super) fn ring(&mut self) -> (u16, u16) {
        self.taken = 0;
        let head = self.head();
        (core::mem::replace(&mut self.rung, head), head)
    }
}

impl Completed {
    /// Tells whether it was written with a phase tag.
    #[inline(always)]
    const fn has_phase(self, phase: u64) -> bool {
        (self.0 ^ phase) & PHASE == 0
    }

    /// Returns how far the device has read the submission queue.
    #[inline]
    pub(super) fn sqhd(self) -> u16 {
        u16::truncate(self.0)
    }

    /// Returns which submission queue the command was in.
    #[inline]
    pub(super) fn sqid(self) -> u16 {
        u16::truncate(self.0 >> 16)
    }

    /// Returns SQHD where SQID is `sqid`, and more than any SQHD otherwise.
    // One comparison tells both: that spares a read two instructions.
    #[inline(always)]
    pub(super) fn sqhd_in(self, sqid: Sqid) -> u32 {
        u32::truncate(self.0) ^ sqid.0
    }

    /// Returns the identifier of the command.
    #[inline]
    pub(super) fn cid(self) -> u16 {
        u16::truncate(self.0 >> 32)
    }

    /// Returns the status, with the phase tag in its lowest bit.
    #[inline]
    pub(super) fn status(self) -> u16 {
        u16::truncate(self.0 >> 48)
    }
}

impl Sqid {
    pub(super) fn new(sqid: u16) -> Self {
        Self(dword(0, sqid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_in_another_queue_is_past_every_head() {
        let completed = Completed(0x0001_0007_0003_001f);
        assert_eq!((completed.sqid(), completed.sqhd()), (3, 0x1f));
        assert_eq!((completed.cid(), completed.status()), (7, 1));
        assert_eq!(completed.sqhd_in(Sqid::new(3)), 0x1f);
        for other in [0, 2, 4, 0x8003, u16::MAX] {
            assert!(completed.sqhd_in(Sqid::new(other)) > u16::MAX.into());
        }
    }

    #[test]
    fn the_phase_is_above_the_identifier() {
        assert!(Completed(0x0001_ffff_ffff_ffff).has_phase(PHASE));
        assert!(Completed(0xfffe_ffff_ffff_ffff).has_phase(0));
        assert!(!Completed(0xfffe_ffff_ffff_ffff).has_phase(PHASE));
    }
}
