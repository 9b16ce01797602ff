//! Frames that come (Virtual I/O Device Specification 1.2, section 5.1.6.3 and 5.1.6.4).

use vfio_core::dma::DmaHandle;

use super::header::{HEADER, HEADER_32, Header};
use super::slots::Slots;
use crate::nic::Received;
use crate::virtio::error::Misfit;
use crate::virtio::queue::{Access, Virtqueue, memory_len};

/// The queue of frames that come, and the memory that they come into.
#[derive(Debug)]
pub(super) struct ReceiveQueue<M: DmaHandle, const DEPTH: usize> {
    pub(super) queue: Virtqueue<M, DEPTH>,
    slots: Slots<M>,
    /// Whether a frame may be in several buffers.
    is_merged: bool,
    /// Frames that nobody could use.
    pub(super) dropped: u64,
}

impl<M: DmaHandle, const DEPTH: usize> ReceiveQueue<M, DEPTH> {
    pub(super) const fn new(queue: Virtqueue<M, DEPTH>, slots: Slots<M>, is_merged: bool) -> Self {
        Self {
            queue,
            slots,
            is_merged,
            dropped: 0,
        }
    }

    /// Gives all memory to the device, which has none of it.
    pub(super) fn fill(&mut self) {
        self.queue.clear();
        for slot in 0..self.queue.size() {
            self.offer(slot);
        }
    }

    /// Gives a slot to the device.
    #[inline(always)]
    fn offer(&mut self, slot: u16) {
        let piece = self.slots.piece(slot, self.slots.len(), Access::Write);
        // There is an entry for each slot.
        let _ = self.queue.add(&[piece], slot);
    }

    /// Tells whether the device is to be told of the memory that waits to be given back.
    #[inline(always)]
    pub(super) const fn is_due(&self) -> bool {
        self.queue.unpublished() > self.queue.size() / 4
    }

    /// Copies the next frame into `frame`, if one came, and keeps the memory for the device.
    ///
    /// # Errors
    /// [`Misfit`]
    #[inline]
    pub(super) fn receive(&mut self, frame: &mut [u8]) -> Result<Option<Received>, Misfit> {
        loop {
            let Some((header, count)) = self.next_frame()? else {
                return Ok(None);
            };
            let len = self.gather(count, frame)?;
            let checksum = len.and_then(|len| header.checksum(len));
            if let (Some(len), Some(checksum)) = (len, checksum) {
                return Ok(Some(Received { len, checksum }));
            }
            self.dropped = self.dropped.wrapping_add(1);
        }
    }

    /// Returns the header of the next frame and in how many buffers it is, once all of them came.
    #[inline(always)]
    fn next_frame(&mut self) -> Result<Option<(Header, u16)>, Misfit> {
        let Some(used) = self.queue.peek()? else {
            return Ok(None);
        };
        let (len, least) = (used.len, HEADER_32);
        if len < least {
            return Err(Misfit::TooShort { len, least });
        }
        let header = self.slots.header(used.token);
        if !self.is_merged || header.num_buffers == 1 {
            return Ok(Some((header, 1)));
        }
        let count = header.num_buffers;
        Ok(self.has_come(count)?.then_some((header, count)))
    }

    /// Tells whether `count` buffers came. A device that has fewer can't be waited for.
    #[cold]
    fn has_come(&mut self, count: u16) -> Result<bool, Misfit> {
        if count == 0 || count > self.queue.under_way() {
            return Err(Misfit::Buffers { count });
        }
        if self.queue.pending()? < count {
            self.queue.look()?;
        }
        Ok(self.queue.pending()? >= count)
    }

    /// Copies a frame out of `count` buffers; returns its length, if there is room for it.
    #[inline(always)]
    fn gather(&mut self, count: u16, frame: &mut [u8]) -> Result<Option<usize>, Misfit> {
        let mut done = Some(0);
        let mut skipped = HEADER;
        for _ in 0..count {
            let Some(used) = self.queue.take()? else {
                return Err(Misfit::Buffers { count });
            };
            let len = memory_len(used.len);
            let len = len.saturating_sub(skipped);
            done = done.and_then(|start: usize| {
                let end = start.checked_add(len)?;
                let place = frame.get_mut(start..end)?;
                self.slots.read(used.token, skipped, place);
                Some(end)
            });
            skipped = 0;
            self.offer(used.token);
        }
        Ok(done)
    }
}
