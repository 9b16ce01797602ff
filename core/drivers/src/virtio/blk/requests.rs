//! Requests and their memory (Virtual I/O Device Specification 1.2, section 5.2.6).

use vfio_core::dma::{Buffer, Direction, DmaError, DmaHandle};
use vfio_core::mmio::field::{ReadPureWrite, WriteOnly};
use vfio_core::mmio::{Block, Registers as _};
use vfio_core::registers;
use vfio_core::sys::Sys;

use crate::virtio::queue::{Access, Piece, memory_len};

registers! {
    /// What is asked for, and how it went.
    struct Head: 0x20 {
        /// [`Kind`].
        0x00 kind: WriteOnly<u32>,
        0x04 reserved: WriteOnly<u32>,
        /// The first sector.
        0x08 sector: WriteOnly<u64>,
        /// How it went: [`status`].
        0x10 status: ReadPureWrite<u8>,
    }
}

/// Where the status is, as an address.
const STATUS: u64 = 0x10;
/// Bytes of what the device reads.
const READ_LEN: u32 = 16;

/// How a request went.
pub(super) mod status {
    pub(crate) const OK: u8 = 0;
    pub(crate) const IOERR: u8 = 1;
    pub(crate) const UNSUPP: u8 = 2;
    /// No answer of a device's.
    pub(crate) const NONE: u8 = 0xff;
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    In,
    Out,
    Flush,
    GetId,
}

/// The memory of so many requests: their data, and their heads.
#[derive(Debug)]
pub(super) struct Requests<M: DmaHandle> {
    data: Buffer<M>,
    heads: Buffer<M>,
    /// Bytes of data of a request.
    len: u32,
}

/// The head of a request.
type HeadBlock<'r, S> = Block<&'r <S as Sys>::Memory, Head>;

impl Kind {
    const fn number(self) -> u32 {
        match self {
            Self::In => 0,
            Self::Out => 1,
            Self::Flush => 4,
            Self::GetId => 8,
        }
    }

    /// Returns what the device does with the data.
    pub(super) const fn access(self) -> Access {
        match self {
            Self::In | Self::GetId => Access::Write,
            Self::Out | Self::Flush => Access::Read,
        }
    }
}

impl<M: DmaHandle> Requests<M> {
    /// Makes memory for `count` requests of up to `len` bytes of data.
    pub(super) fn new(dma: &M, count: u16, len: u32) -> Result<Self, DmaError> {
        let count = usize::from(count);
        let buffer = |len: usize| {
            let all = len.saturating_mul(count);
            Buffer::new(dma.clone(), all, Direction::Both)
        };
        Ok(Self {
            data: buffer(memory_len(len))?,
            heads: buffer(Head::SIZE)?,
            len,
        })
    }

    /// Returns the bytes of data of a request.
    pub(super) fn len(&self) -> usize {
        memory_len(self.len)
    }

    /// Writes the head of a request with `len` bytes of data, and returns its parts: those of the
    /// head, and between them the data where there are any.
    pub(super) fn prepare(
        &mut self,
        slot: u16,
        kind: Kind,
        sector: u64,
        len: usize,
    ) -> heapless::Vec<Piece, 3> {
        if let Some(mut head) = self.head(slot) {
            let Ok(()) = head.write(Head::kind, kind.number());
            let Ok(()) = head.write(Head::reserved, 0);
            let Ok(()) = head.write(Head::sector, sector);
            let Ok(()) = head.write(Head::status, status::NONE);
        }
        let at = |base: u64, len: u32| base.wrapping_add(u64::from(slot).wrapping_mul(len.into()));
        let head = at(self.heads.iova(), READ_LEN.wrapping_mul(2));
        let len = u32::try_from(len).unwrap_or(u32::MAX).min(self.len);
        let data = Piece {
            iova: at(self.data.iova(), self.len),
            len,
            access: kind.access(),
        };
        let first = Piece {
            iova: head,
            len: READ_LEN,
            access: Access::Read,
        };
        let last = Piece {
            iova: head.wrapping_add(STATUS),
            len: 1,
            access: Access::Write,
        };
        let mut parts = heapless::Vec::new();
        // There is room for three.
        let _ = parts.push(first);
        if len > 0 {
            let _ = parts.push(data);
        }
        let _ = parts.push(last);
        parts
    }

    /// Returns how a request went, as the device wrote it.
    pub(super) fn status(&mut self, slot: u16) -> u8 {
        match self.head(slot) {
            Some(head) => {
                let Ok(status) = head.get(Head::status);
                status
            }
            None => status::NONE,
        }
    }

    /// Copies the data of a request, which the device has read or is to read.
    pub(super) fn read(&mut self, slot: u16, bytes: &mut [u8]) {
        let offset = usize::from(slot).saturating_mul(memory_len(self.len));
        let _ = self.data.window().read_bytes(offset, bytes);
    }

    /// Writes the data of a request.
    pub(super) fn write(&mut self, slot: u16, bytes: &[u8]) {
        let offset = usize::from(slot).saturating_mul(memory_len(self.len));
        let _ = self.data.window().write_bytes(offset, bytes);
    }

    fn head(&mut self, slot: u16) -> Option<HeadBlock<'_, M::Sys>> {
        let offset = usize::from(slot).saturating_mul(Head::SIZE);
        self.heads.window().into_block(offset).ok()
    }
}

const _: () = assert!(Head::SIZE == 32 && READ_LEN == 16);
