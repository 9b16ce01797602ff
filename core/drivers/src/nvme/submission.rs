//! A submission queue, in memory that the device reads (NVM Express Base Specification 1.4, 4.1 and
//! 4.2).

use vfio_core::dma::{Buffer, Direction, DmaError, DmaHandle};
use vfio_core::mmio::field::WriteOnly;
use vfio_core::mmio::{Array, Registers as _, Window};
use vfio_core::registers;

use super::entries::{TOO_SHORT, dword, index, qword};

registers! {
    /// A submission queue entry. Dwords 2 and 3 have no part here: no command has anything in
    /// them, and they stay as the memory was made, zero.
    struct Entry: 0x40 {
        /// The opcode and the CID, and the NSID above them.
        0x00 cdw0_nsid: WriteOnly<u64>,
        0x10 mptr: WriteOnly<u64>,
        0x18 prp1: WriteOnly<u64>,
        0x20 prp2: WriteOnly<u64>,
        0x28 cdw10_11: WriteOnly<u64>,
        0x30 cdw12_13: WriteOnly<u64>,
        0x38 cdw14_15: WriteOnly<u64>,
    }
}

/// A command, as its entry has it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Command {
    pub(super) opcode: u8,
    /// The command identifier.
    pub(super) cid: u16,
    /// The namespace identifier.
    pub(super) nsid: u32,
    /// Where the metadata are.
    pub(super) mptr: u64,
    /// Where the first page of data is.
    pub(super) prp1: u64,
    /// Where the second page is, or the list of all others.
    pub(super) prp2: u64,
    pub(super) cdw10: u32,
    pub(super) cdw11: u32,
    pub(super) cdw12: u32,
    pub(super) cdw14: u32,
}

/// A submission queue.
#[derive(Debug)]
pub(super) struct SubmissionQueue<M: DmaHandle> {
    entries: Array<Buffer<M>, Entry>,
    /// Where the next command goes; past the last entry it is the first.
    tail: usize,
    /// The tail that the device knows of.
    rung: u16,
}

impl<M: DmaHandle> SubmissionQueue<M> {
    /// Makes an empty queue of `entries` entries.
    pub(super) fn new(dma: &M, entries: u16) -> Result<Self, DmaError> {
        let count = usize::from(entries);
        let len = Entry::SIZE.saturating_mul(count);
        let memory = Buffer::new(dma.clone(), len, Direction::ToDevice)?;
        let entries = Window::new(memory).into_array(0, count);
        Ok(Self {
            entries: entries.map_err(|_| TOO_SHORT)?,
            tail: 0,
            rung: 0,
        })
    }

    /// Empties the queue, which no device uses now.
    pub(super) const fn clear(&mut self) {
        (self.tail, self.rung) = (0, 0);
    }

    /// Returns where the device finds it.
    pub(super) fn iova(&self) -> u64 {
        self.entries.access().iova()
    }

    /// Returns how many entries it has: one more than commands that it can hold.
    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Puts a command at the tail. There must be room: the device has taken what was there.
    #[inline(always)]
    pub(super) fn put(&mut self, command: &Command) {
        if self.tail >= self.entries.len() {
            self.wrap();
        }
        let Some(mut entry) = self.entries.block(self.tail) else {
            return;
        };
        let cdw0 = dword(u16::from(command.opcode), command.cid);
        let Ok(()) = entry.write(Entry::cdw0_nsid, qword(cdw0, command.nsid));
        let Ok(()) = entry.write(Entry::mptr, command.mptr);
        let Ok(()) = entry.write(Entry::prp1, command.prp1);
        let Ok(()) = entry.write(Entry::prp2, command.prp2);
        let Ok(()) = entry.write(Entry::cdw10_11, qword(command.cdw10, command.cdw11));
        let Ok(()) = entry.write(Entry::cdw12_13, qword(command.cdw12, 0));
        let Ok(()) = entry.write(Entry::cdw14_15, qword(command.cdw14, 0));
        self.tail = self.tail.wrapping_add(1);
    }

    /// Goes on with the first entry after the last one.
    #[cold]
    const fn wrap(&mut self) {
        self.tail = 0;
    }

    /// Returns the tail that the device knew of and the one that it has to be told now, if another.
    #[inline(always)]
    pub(super) fn ring(&mut self) -> Option<(u16, u16)> {
        let tail = index(self.tail, self.entries.len());
        if tail == self.rung {
            return None;
        }
        let old = core::mem::replace(&mut self.rung, tail);
        Some((old, tail))
    }
}
