//! Reading and writing any number of blocks, with as many commands at a time as the queue takes.

use core::ops::Range;

use super::controller::ControllerHandle;
use super::error::{NvmeError, Refusal};
use super::namespace::Namespace;
use super::queue::{Completion, ErrorOf, QueuePair};
use super::slot::Slot;
use super::status::Status;
use super::transfer::{Metadata, Way};

/// The most blocks that one command transfers.
const BLOCKS: usize = 1 << 16;

/// Bytes that are transferred in chunks, one for each slot at a time.
struct Chunks<const DEPTH: usize> {
    /// Where they begin on the namespace.
    lba: u64,
    len: usize,
    /// Bytes of a block.
    size: usize,
    /// Bytes of a chunk: the last one can be shorter.
    chunk: usize,
    /// Where the next chunk begins.
    next: usize,
    /// Where the chunk of each slot begins.
    starts: [usize; DEPTH],
}

impl<const DEPTH: usize> Chunks<DEPTH> {
    /// Tells whether no chunk is left.
    const fn are_taken(&self) -> bool {
        self.next >= self.len
    }

    /// Takes the next chunk for a slot: its bytes, its first block and how many it has.
    fn take(&mut self, slot: &Slot) -> (Range<usize>, u64, u32) {
        if let Some(start) = self.starts.get_mut(usize::from(slot.number())) {
            *start = self.next;
        }
        let range = self.range(slot);
        let blocks_of = |bytes: usize| bytes.checked_div(self.size).unwrap_or(0);
        let first = u64::try_from(blocks_of(range.start)).unwrap_or(u64::MAX);
        let blocks = u32::try_from(blocks_of(range.len())).unwrap_or(u32::MAX);
        self.next = range.end;
        (range, self.lba.saturating_add(first), blocks)
    }

    /// Returns the bytes of the chunk of a slot.
    fn range(&self, slot: &Slot) -> Range<usize> {
        let start = self.starts.get(usize::from(slot.number()));
        let start = start.copied().unwrap_or(0);
        start..start.saturating_add(self.chunk).min(self.len)
    }
}

impl<C: ControllerHandle, const DEPTH: usize> QueuePair<C, DEPTH> {
    /// Reads blocks from `lba` on, and waits.
    ///
    /// They are as many as `data` has room for, which must be whole blocks. No other command may be
    /// under way.
    ///
    /// # Errors
    /// As [`QueuePair::wait`]; [`NvmeError::Request`]; [`NvmeError::Command`] of the first command
    /// that failed: the others were made.
    pub fn read_blocks(
        &mut self,
        namespace: &Namespace,
        lba: u64,
        data: &mut [u8],
    ) -> Result<(), NvmeError<ErrorOf<C>>> {
        let len = data.len();
        self.in_chunks(
            namespace,
            lba,
            len,
            Way::Read,
            |_, _, _| (),
            |queue, slot, range| {
                if let Some(part) = data.get_mut(range) {
                    queue.copy_out(slot, namespace, part);
                }
            },
        )
    }

    /// Writes blocks from `lba` on, and waits.
    ///
    /// `data` must be whole blocks. No other command may be under way.
    ///
    /// # Errors
    /// As [`QueuePair::read_blocks`].
    pub fn write_blocks(
        &mut self,
        namespace: &Namespace,
        lba: u64,
        data: &[u8],
    ) -> Result<(), NvmeError<ErrorOf<C>>> {
        let fill = |queue: &mut Self, slot: &Slot, range: Range<usize>| {
            if let Some(part) = data.get(range) {
                queue.copy_in(slot, namespace, part);
            }
        };
        self.in_chunks(
            namespace,
            lba,
            data.len(),
            Way::Write(Metadata::Zeros),
            fill,
            |_, _, _| (),
        )
    }

    /// Flushes the namespace, and waits. No other command may be under way.
    ///
    /// # Errors
    /// As [`QueuePair::read_blocks`].
    pub fn flush_blocks(&mut self, namespace: &Namespace) -> Result<(), NvmeError<ErrorOf<C>>> {
        let slot = self.only_slot()?;
        if let Err(refused) = self.flush(slot, namespace) {
            self.take_back(refused.slot);
            return Err(NvmeError::Request(refused.reason));
        }
        let ended = self.wait()?;
        self.end(ended)
    }

    /// Transfers `len` bytes in chunks of a slot each: `before` sees the slot and the range of bytes
    /// of each chunk before its command, `after` after it.
    fn in_chunks(
        &mut self,
        namespace: &Namespace,
        lba: u64,
        len: usize,
        way: Way,
        before: impl Fn(&mut Self, &Slot, Range<usize>),
        mut after: impl FnMut(&mut Self, &Slot, Range<usize>),
    ) -> Result<(), NvmeError<ErrorOf<C>>> {
        let mut chunks = self.chunks(namespace, lba, len)?;
        let mut failed = None;
        loop {
            while failed.is_none()
                && !chunks.are_taken()
                && let Some(slot) = self.slot()
            {
                let (range, lba, blocks) = chunks.take(&slot);
                before(self, &slot, range);
                if let Err(refused) = self.transfer(way, slot, namespace, lba, blocks) {
                    failed = Some(NvmeError::Request(refused.reason));
                    self.take_back(refused.slot);
                }
            }
            let Some(Completion { slot, result, .. }) = self.wait()? else {
                break;
            };
            match result {
                Ok(()) => after(self, &slot, chunks.range(&slot)),
                Err(status) => failed = failed.or(Some(NvmeError::Command(status))),
            }
            self.take_back(slot);
        }
        match failed {
            Some(error) => Err(error),
            None if !chunks.are_taken() => Err(NvmeError::Request(Refusal::NoSlot)),
            None => Ok(()),
        }
    }

    /// Parts `len` bytes into chunks.
    fn chunks(
        &self,
        namespace: &Namespace,
        lba: u64,
        len: usize,
    ) -> Result<Chunks<DEPTH>, NvmeError<ErrorOf<C>>> {
        let block = namespace.block_size();
        let size = usize::try_from(block).unwrap_or(usize::MAX);
        if !len.is_multiple_of(size) {
            return Err(NvmeError::Request(Refusal::Unaligned { block }));
        }
        self.is_idle()?;
        Ok(Chunks {
            lba,
            len,
            size,
            chunk: self.chunk(namespace)?.saturating_mul(size),
            next: 0,
            starts: [0; DEPTH],
        })
    }

    /// Returns how many blocks a command transfers: as many as a slot has room for.
    fn chunk(&self, namespace: &Namespace) -> Result<usize, NvmeError<ErrorOf<C>>> {
        let stride = usize::try_from(namespace.stride()).unwrap_or(usize::MAX);
        let by_data = self.slot_len.checked_div(stride).unwrap_or(0);
        let separate = usize::try_from(namespace.separate).unwrap_or(usize::MAX);
        let by_metadata = self.metadata_len.checked_div(separate);
        let chunk = by_data.min(by_metadata.unwrap_or(BLOCKS)).min(BLOCKS);
        match chunk {
            0 if by_data > 0 => Err(NvmeError::Request(Refusal::Metadata {
                most: self.metadata_len,
            })),
            0 => Err(NvmeError::Request(Refusal::TooLong {
                most: self.slot_len,
            })),
            chunk => Ok(chunk),
        }
    }

    /// Copies blocks out of a slot, without the metadata between them.
    fn copy_out(&mut self, slot: &Slot, namespace: &Namespace, data: &mut [u8]) {
        let Ok(mut window) = self.window(slot) else {
            return;
        };
        // The blocks lie in the slot: that was checked when they were transferred.
        let (size, stride) = sizes(namespace);
        if size == stride {
            let _ = window.read_bytes(0, data);
        } else {
            for (index, block) in data.chunks_mut(size.max(1)).enumerate() {
                let _ = window.read_bytes(index.saturating_mul(stride), block);
            }
        }
    }

    /// Copies blocks into a slot, with zeros for metadata between them.
    fn copy_in(&mut self, slot: &Slot, namespace: &Namespace, data: &[u8]) {
        let Ok(mut window) = self.window(slot) else {
            return;
        };
        let (size, stride) = sizes(namespace);
        if size == stride {
            let _ = window.write_bytes(0, data);
            return;
        }
        for (index, block) in data.chunks(size.max(1)).enumerate() {
            let at = index.saturating_mul(stride);
            let _ = window.write_bytes(at, block);
            for metadata in size..stride {
                let _ = window.write::<u8>(at.saturating_add(metadata), 0);
            }
        }
    }

    /// Checks that no command is under way.
    pub(super) fn is_idle(&self) -> Result<(), NvmeError<ErrorOf<C>>> {
        match self.under_way() {
            0 => Ok(()),
            count => Err(NvmeError::Request(Refusal::UnderWay { count })),
        }
    }

    /// Takes a slot back that came from here.
    pub(super) fn take_back(&mut self, slot: Slot) {
        let _ = self.release(slot);
    }

    /// Returns a slot, while no other command is under way.
    fn only_slot(&mut self) -> Result<Slot, NvmeError<ErrorOf<C>>> {
        self.is_idle()?;
        self.slot().ok_or(NvmeError::Request(Refusal::NoSlot))
    }

    /// Turns the completion of the only command into a result.
    fn end(&mut self, ended: Option<Completion>) -> Result<(), NvmeError<ErrorOf<C>>> {
        let Some(Completion { slot, result, .. }) = ended else {
            return Err(NvmeError::Stopped);
        };
        self.take_back(slot);
        result.map_err(|status: Status| NvmeError::Command(status))
    }
}

/// Returns the size of a block and the bytes from one to the next.
fn sizes(namespace: &Namespace) -> (usize, usize) {
    let size = usize::try_from(namespace.block_size()).unwrap_or(usize::MAX);
    let stride = usize::try_from(namespace.stride()).unwrap_or(usize::MAX);
    (size, stride)
}
