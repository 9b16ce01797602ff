//! The rings of descriptors, in memory.

use core::convert::Infallible;
use core::fmt;

use vfio_core::dma::{Buffer, Direction, DmaError, DmaHandle};
use vfio_core::mmio::RegisterError;

/// Which ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Ring {
    /// That of received frames.
    Receive,
    /// That of frames to be sent.
    Transmit,
}

/// Why a descriptor can't be read or written: it is not in the ring.
type Unreachable = RegisterError<Infallible>;

/// Bytes of a descriptor: an address, and what is to be done or was done.
const DESCRIPTOR: usize = 16;

/// In the command of a frame to be sent: a data descriptor of the advanced form, which holds a
/// whole frame, to be sent with its checksum and reported.
const SEND: u32 = 3 << 20 | 1 << 24 | 1 << 25 | 1 << 27 | 1 << 29;
/// Where the length of the frame starts in the second word of that command.
const PAYLOAD: u32 = 14;

/// In the status of a descriptor: the device is done with it.
const DONE: u32 = 1 << 0;
/// In the status of a received frame: it ends here.
const END: u32 = 1 << 1;
/// In the status of a received frame: it is damaged.
const DAMAGED: u32 = 1 << 31;

/// The descriptors of a ring, `R` of them.
#[derive(Debug)]
pub(super) struct Descriptors<M: DmaHandle, const R: usize> {
    memory: Buffer<M>,
}

/// A received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) status: u32,
    /// Bytes.
    pub(super) len: u16,
}

impl<M: DmaHandle, const R: usize> Descriptors<M, R> {
    pub(super) fn new(dma: M) -> Result<Self, DmaError> {
        const {
            assert!(
                R.is_multiple_of(8) && R >= 8 && R <= 4096,
                "a ring has 8 to 4096 descriptors, in eights"
            );
        }
        let memory = Buffer::new(dma, R.saturating_mul(DESCRIPTOR), Direction::Both)?;
        Ok(Self { memory })
    }

    /// Returns where the device finds the ring: the low and the high half.
    pub(super) fn base(&self) -> (u32, u32) {
        let [a, b, c, d, e, f, g, h] = self.memory.iova().to_le_bytes();
        (
            u32::from_le_bytes([a, b, c, d]),
            u32::from_le_bytes([e, f, g, h]),
        )
    }

    /// Returns the length in bytes.
    pub(super) fn len() -> u32 {
        u32::try_from(R.saturating_mul(DESCRIPTOR)).unwrap_or(u32::MAX)
    }

    /// Returns the descriptor behind `index`.
    pub(super) const fn next(index: usize) -> usize {
        match index.checked_add(1) {
            Some(next) if next < R => next,
            _ => 0,
        }
    }

    /// Has a frame of at most 1024 bytes put at `iova`.
    pub(super) fn receive(&mut self, index: usize, iova: u64) -> Result<(), Unreachable> {
        self.put(index, iova, 0)
    }

    /// Has the `len` bytes at `iova` sent.
    pub(super) fn send(&mut self, index: usize, iova: u64, len: u16) -> Result<(), Unreachable> {
        let command = SEND | u32::from(len);
        let payload = u32::from(len) << PAYLOAD;
        self.put(index, iova, u64::from(payload) << 32 | u64::from(command))
    }

    /// Tells whether the frame was sent.
    pub(super) fn is_sent(&mut self, index: usize) -> Result<bool, Unreachable> {
        let [.., a, b, c, d] = self.second(index)?.to_le_bytes();
        Ok(u32::from_le_bytes([a, b, c, d]) & DONE != 0)
    }

    /// Returns the frame, once it was received.
    pub(super) fn received(&mut self, index: usize) -> Result<Option<Received>, Unreachable> {
        let [a, b, c, d, e, f, ..] = self.second(index)?.to_le_bytes();
        let status = u32::from_le_bytes([a, b, c, d]);
        let len = u16::from_le_bytes([e, f]);
        Ok((status & DONE != 0).then_some(Received { status, len }))
    }

    fn put(&mut self, index: usize, first: u64, second: u64) -> Result<(), Unreachable> {
        let at = index.saturating_mul(DESCRIPTOR);
        let mut window = self.memory.window();
        window.write(at, first)?;
        window.write(at.saturating_add(8), second)
    }

    fn second(&mut self, index: usize) -> Result<u64, Unreachable> {
        let at = index.saturating_mul(DESCRIPTOR).saturating_add(8);
        self.memory.window().read(at)
    }
}

impl Received {
    /// Tells whether it is a whole and undamaged frame of `len` bytes.
    pub(super) const fn is_whole(&self, len: u16) -> bool {
        self.len == len && self.status & (END | DAMAGED) == END
    }
}

impl fmt::Display for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Receive => "receive",
            Self::Transmit => "transmit",
        })
    }
}
