//! Reading and writing any number of blocks, with as many commands at a time as the queue takes.

use super::controller::ControllerHandle;
use super::error::{NvmeError, Refusal};
use super::namespace::Namespace;
use super::queue::{Completion, ErrorOf, QueuePair};
use super::slot::Slot;
use super::status::Status;
use super::transfer::{Metadata, Way};

/// The most blocks that one command transfers.
const BLOCKS: usize = 1 << 16;

impl<C: ControllerHandle, const DEPTH: usize> QueuePair<C, DEPTH> {
    /// Reads blocks from `lba` on, and waits: as many as `data` has room for, which must be whole
    /// blocks. No other command may be under way.
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
            |queue, slot, at, size| {
                if let Some(part) = data.get_mut(at..at.saturating_add(size)) {
                    queue.copy_out(slot, namespace, part);
                }
            },
        )
    }

    /// Writes blocks from `lba` on, and waits; `data` must be whole blocks. No other command may
    /// be under way.
    ///
    /// # Errors
    /// As [`QueuePair::read_blocks`].
    pub fn write_blocks(
        &mut self,
        namespace: &Namespace,
        lba: u64,
        data: &[u8],
    ) -> Result<(), NvmeError<ErrorOf<C>>> {
        let fill = |queue: &mut Self, slot: &Slot, range: core::ops::Range<usize>| {
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
            |_, _, _, _| (),
        )
    }

    /// Flushes, and waits. No other command may be under way.
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

    /// Transfers `len` bytes in chunks of a slot each: `before` sees the slot and the bytes
    /// of each chunk before its command, `after` after it.
    fn in_chunks(
        &mut self,
        namespace: &Namespace,
        lba: u64,
        len: usize,
        way: Way,
        before: impl Fn(&mut Self, &Slot, core::ops::Range<usize>),
        mut after: impl FnMut(&mut Self, &Slot, usize, usize),
    ) -> Result<(), NvmeError<ErrorOf<C>>> {
        let size = usize::try_from(namespace.block_size()).unwrap_or(usize::MAX);
        if !len.is_multiple_of(size) {
            return Err(NvmeError::Request(Refusal::Unaligned {
                block: namespace.block_size(),
            }));
        }
        self.is_idle()?;
        let chunk = self.chunk(namespace)?;
        let bytes_of = |at: usize| len.saturating_sub(at).min(chunk.saturating_mul(size));
        let mut starts = [0_usize; DEPTH];
        let mut next = 0;
        let mut failed = None;
        loop {
            while next < len
                && failed.is_none()
                && let Some(slot) = self.slot()
            {
                let bytes = bytes_of(next);
                before(self, &slot, next..next.saturating_add(bytes));
                if let Some(start) = starts.get_mut(usize::from(slot.number())) {
                    *start = next;
                }
                let first = u64::try_from(next.checked_div(size).unwrap_or(0)).unwrap_or(u64::MAX);
                let blocks =
                    u32::try_from(bytes.checked_div(size).unwrap_or(0)).unwrap_or(u32::MAX);
                let lba = lba.saturating_add(first);
                if let Err(refused) = self.transfer(way, slot, namespace, lba, blocks) {
                    failed = Some(NvmeError::Request(refused.reason));
                    self.take_back(refused.slot);
                    break;
                }
                next = next.saturating_add(bytes);
            }
            let Some(Completion { slot, result, .. }) = self.wait()? else {
                break;
            };
            let start = starts.get(usize::from(slot.number()));
            match (result, start) {
                (Ok(()), Some(start)) => after(self, &slot, *start, bytes_of(*start)),
                (Ok(()), None) => (),
                (Err(status), _) => failed = failed.or(Some(NvmeError::Command(status))),
            }
            self.take_back(slot);
        }
        match failed {
            Some(error) => Err(error),
            None if next < len => Err(NvmeError::Request(Refusal::NoSlot)),
            None => Ok(()),
        }
    }

    /// How many blocks a command transfers: as many as a slot has room for.
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

    /// No command must be under way.
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

    /// A slot, while no other command is under way.
    fn only_slot(&mut self) -> Result<Slot, NvmeError<ErrorOf<C>>> {
        self.is_idle()?;
        self.slot().ok_or(NvmeError::Request(Refusal::NoSlot))
    }

    /// How the only command ended.
    fn end(&mut self, ended: Option<Completion>) -> Result<(), NvmeError<ErrorOf<C>>> {
        let Some(Completion { slot, result, .. }) = ended else {
            return Err(NvmeError::Stopped);
        };
        self.take_back(slot);
        result.map_err(|status: Status| NvmeError::Command(status))
    }
}

/// The size of a block and the bytes from one to the next.
fn sizes(namespace: &Namespace) -> (usize, usize) {
    let size = usize::try_from(namespace.block_size()).unwrap_or(usize::MAX);
    let stride = usize::try_from(namespace.stride()).unwrap_or(usize::MAX);
    (size, stride)
}
