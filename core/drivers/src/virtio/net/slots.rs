//! Memory for frames and their headers.

use vfio_core::dma::{Buffer, Direction, DmaError, DmaHandle};

use super::header::{HEADER, Header, emit};
use crate::nic::PartialChecksum;
use crate::virtio::queue::{Access, Piece, memory_len};

/// Memory for so many frames of one length.
#[derive(Debug)]
pub(super) struct Slots<M: DmaHandle> {
    memory: Buffer<M>,
    /// Bytes of a slot, its header included.
    len: u32,
}

impl<M: DmaHandle> Slots<M> {
    /// Makes `count` slots of `len` bytes.
    pub(super) fn new(dma: &M, count: u16, len: u32) -> Result<Self, DmaError> {
        let all = memory_len(len).saturating_mul(usize::from(count));
        let memory = Buffer::new(dma.clone(), all, Direction::Both)?;
        Ok(Self { memory, len })
    }

    /// Returns the bytes of a slot.
    #[inline(always)]
    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    /// Returns the first `len` bytes of a slot as a part of a request.
    #[inline(always)]
    pub(super) fn piece(&self, slot: u16, len: u32, access: Access) -> Piece {
        let offset = u64::from(slot).wrapping_mul(self.len.into());
        Piece {
            iova: self.memory.iova().wrapping_add(offset),
            len,
            access,
        }
    }

    /// Reads the header in a slot, once: the device may change it at any time.
    #[inline(always)]
    pub(super) fn header(&mut self, slot: u16) -> Header {
        let mut bytes = [0; HEADER];
        self.read(slot, 0, &mut bytes);
        Header::parse(bytes)
    }

    /// Writes the header of a frame that is sent.
    #[inline(always)]
    pub(super) fn write_header(&mut self, slot: u16, partial: Option<PartialChecksum>) {
        let at = self.offset(slot);
        let (first, rest) = emit(partial);
        let mut window = self.memory.window();
        // Slots lie in the memory, and are longer than a header.
        let _ = window.write(at, first);
        let _ = window.write(at.wrapping_add(8), rest);
    }

    /// Reads bytes of a slot, from `at` on; what is not in the memory is left out.
    #[inline(always)]
    pub(super) fn read(&mut self, slot: u16, at: usize, bytes: &mut [u8]) {
        let offset = self.offset(slot).wrapping_add(at);
        let _ = self.memory.window().read_bytes(offset, bytes);
    }

    /// Writes a frame behind its header.
    #[inline(always)]
    pub(super) fn write_frame(&mut self, slot: u16, frame: &[u8]) {
        let offset = self.offset(slot).wrapping_add(HEADER);
        let _ = self.memory.window().write_bytes(offset, frame);
    }

    #[inline(always)]
    fn offset(&self, slot: u16) -> usize {
        usize::from(slot).wrapping_mul(memory_len(self.len))
    }
}
