//! Frames that are sent (Virtual I/O Device Specification 1.2, section 5.1.6.2).

use vfio_core::dma::DmaHandle;

use super::header::{HEADER, HEADER_32};
use super::slots::Slots;
use crate::nic::PartialChecksum;
use crate::virtio::error::Misfit;
use crate::virtio::queue::{Access, Virtqueue, memory_len};

/// The queue of frames that are sent, and their memory.
#[derive(Debug)]
pub(super) struct TransmitQueue<M: DmaHandle, const DEPTH: usize> {
    pub(super) queue: Virtqueue<M, DEPTH>,
    slots: Slots<M>,
    /// Slots that no frame is in.
    free: heapless::Vec<u16, DEPTH>,
}

impl<M: DmaHandle, const DEPTH: usize> TransmitQueue<M, DEPTH> {
    pub(super) const fn new(queue: Virtqueue<M, DEPTH>, slots: Slots<M>) -> Self {
        Self {
            queue,
            slots,
            free: heapless::Vec::new(),
        }
    }

    /// Begins anew with a device that has none of the memory.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.free.clear();
        for slot in 0..self.queue.size() {
            // There is room for all of them.
            let _ = self.free.push(slot);
        }
    }

    /// Returns the length of the longest frame that a slot takes, in bytes.
    #[inline(always)]
    pub(super) fn most(&self) -> usize {
        let len = memory_len(self.slots.len());
        len.saturating_sub(HEADER)
    }

    /// Puts a frame, no longer than a slot takes, into the queue; whether there was room.
    ///
    /// # Errors
    /// [`Misfit`]
    #[inline]
    pub(super) fn send(
        &mut self,
        frame: &[u8],
        partial: Option<PartialChecksum>,
    ) -> Result<bool, Misfit> {
        if !self.has_room()? {
            return Ok(false);
        }
        let Some(slot) = self.free.pop() else {
            return Ok(false);
        };
        self.slots.write_header(slot, partial);
        self.slots.write_frame(slot, frame);
        let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let len = len.saturating_add(HEADER_32);
        let piece = self.slots.piece(slot, len, Access::Read);
        // There is an entry for each slot.
        Ok(self.queue.add(&[piece], slot))
    }

    /// Tells whether there is room for a frame.
    ///
    /// # Errors
    /// [`Misfit`]
    #[inline(always)]
    pub(super) fn has_room(&mut self) -> Result<bool, Misfit> {
        if self.free.is_empty() {
            self.reclaim()?;
        }
        Ok(!self.free.is_empty())
    }

    /// Takes back the memory of frames that were sent.
    ///
    /// # Errors
    /// [`Misfit`]
    pub(super) fn reclaim(&mut self) -> Result<(), Misfit> {
        while let Some(used) = self.queue.take()? {
            // It came from there: there is room.
            let _ = self.free.push(used.token);
        }
        Ok(())
    }
}
