//! One mapping that is given out in chunks.

use core::convert::Infallible;
use core::fmt;
use core::ptr::NonNull;

use spin::Mutex;

use super::part::behind;
use super::{Buffer, BufferOptions, DmaError, DmaHandle, Reachable};
use crate::handle::{Handle, Projection};
use crate::mmio::{Access, Addressable, Forward, Part, Through, Unrestricted, Window};

/// The most chunks that a pool has.
const MOST: usize = 4096;

/// Bits of a word of the list of chunks.
const WORD: usize = 64;

/// Memory that is mapped once and given out in chunks of one size: the frames of a network card,
/// the commands of a queue.
///
/// ```
/// use vfio_core::dma::{Direction, Dma, Pool, PoolError};
/// use vfio_core::sys::Sys;
///
/// fn frames<S: Sys>(dma: &Dma<S>) -> Result<(), PoolError> {
///     let pool = Pool::new(dma, 256, 2048, Direction::Both)?;
///     if let Some(mut frame) = pool.take() {
///         let _ = frame.window().write::<u64>(0, 0x1234);
///         let _ = frame.iova();
///     }
///     Ok(())
/// }
/// ```
pub struct Pool<M: DmaHandle> {
    buffer: Buffer<M>,
    /// Bytes of a chunk.
    chunk: usize,
    /// The chunks that are given out, as bits.
    taken: Mutex<[u64; MOST / WORD]>,
    count: usize,
}

/// A handle to a [`Pool`]: `&Pool<M>`, `Arc<Pool<M>>` and the like.
pub trait PoolHandle: Handle<Target = Pool<<Self as PoolHandle>::Dma>> {
    /// The pool's handle to its address space.
    type Dma: DmaHandle;
}

impl<M: DmaHandle, H: Handle<Target = Pool<M>>> PoolHandle for H {
    type Dma = M;
}

/// A chunk of a pool's memory, nobody else's until it is dropped. It holds what its last owner
/// left.
pub struct Chunk<P: PoolHandle> {
    bytes: Part<Through<Projection<P, Buffer<P::Dma>>>>,
    iova: u64,
    index: usize,
}

/// Why there is no pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PoolError {
    /// A pool has 1 to 4096 chunks.
    Count {
        /// How many it was to have.
        count: usize,
    },
    /// A chunk has a multiple of 8 bytes, and all together fit into memory.
    Chunk {
        /// Bytes that it was to have.
        len: usize,
    },
    /// There is no memory.
    Dma(DmaError),
}

impl<M: DmaHandle> Pool<M> {
    /// Makes memory for `count` chunks of `len` bytes each, a multiple of 8.
    ///
    /// # Errors
    /// [`PoolError`]
    pub fn new(
        dma: M,
        count: usize,
        len: usize,
        options: impl Into<BufferOptions>,
    ) -> Result<Self, PoolError> {
        if count == 0 || count > MOST {
            return Err(PoolError::Count { count });
        }
        let all = len.checked_mul(count);
        let all = all.filter(|_| len != 0 && len.is_multiple_of(8));
        let all = all.ok_or(PoolError::Chunk { len })?;
        Ok(Self {
            buffer: Buffer::new(dma, all, options).map_err(PoolError::Dma)?,
            chunk: len,
            taken: Mutex::new([0; MOST / WORD]),
            count,
        })
    }

    /// Takes a chunk, if one is free.
    pub fn take(&self) -> Option<Chunk<&Self>> {
        Chunk::new(self)
    }

    /// Returns how many chunks there are, given out or not.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Returns the bytes of a chunk.
    #[must_use]
    pub const fn chunk_len(&self) -> usize {
        self.chunk
    }

    /// Marks the first free chunk as taken.
    fn reserve(&self) -> Option<usize> {
        let mut words = self.taken.lock();
        for (index, word) in words.iter_mut().enumerate() {
            let bit = usize::try_from(word.trailing_ones()).ok()?;
            let chunk = index.saturating_mul(WORD).saturating_add(bit);
            if chunk >= self.count {
                return None;
            }
            if bit < WORD {
                *word |= mask(bit);
                return Some(chunk);
            }
        }
        None
    }

    /// Marks a chunk as free.
    fn release(&self, chunk: usize) {
        if let Some(word) = self.taken.lock().get_mut(chunk / WORD) {
            *word &= !mask(chunk % WORD);
        }
    }
}

/// Returns a bit of a word.
fn mask(bit: usize) -> u64 {
    let shifted = u32::try_from(bit)
        .ok()
        .and_then(|bit| 1_u64.checked_shl(bit));
    shifted.unwrap_or(0)
}

impl<P: PoolHandle> Chunk<P> {
    /// Takes a chunk of a pool, as [`Pool::take`] does, and keeps the handle.
    pub fn new(pool: P) -> Option<Self> {
        let index = pool.reserve()?;
        let (offset, len) = (index.saturating_mul(pool.chunk), pool.chunk);
        let iova = behind(pool.buffer.iova(), offset);
        let buffer = Through::new(Projection::new(pool.clone(), |pool| &pool.buffer));
        let Ok(bytes) = Part::new(buffer, offset, len) else {
            pool.release(index);
            return None;
        };
        Some(Self { bytes, iova, index })
    }

    /// Returns where the device finds the chunk.
    #[inline]
    #[must_use]
    pub const fn iova(&self) -> u64 {
        self.iova
    }

    /// Returns which chunk of the pool it is, from 0.
    #[inline]
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Returns a window that reads and writes the chunk.
    #[inline]
    pub fn window(&mut self) -> Window<&Self> {
        Window::new(&*self)
    }
}

impl<P: PoolHandle> Drop for Chunk<P> {
    fn drop(&mut self) {
        self.bytes.whole().handle().whole().release(self.index);
    }
}

// SAFETY: the bytes are always the same ones.
unsafe impl<P: PoolHandle> Forward for Chunk<P> {
    type Target = Part<Through<Projection<P, Buffer<P::Dma>>>>;
    type Error = Infallible;

    #[inline]
    fn target(&self) -> &Self::Target {
        &self.bytes
    }
}

// SAFETY: every access is one of the buffer.
unsafe impl<P: PoolHandle> Unrestricted for Chunk<P> {}

// SAFETY: the address is that of the bytes, as above.
unsafe impl<P: PoolHandle> Addressable for Chunk<P> {
    #[inline]
    fn as_ptr(&self) -> NonNull<u8> {
        self.bytes.as_ptr()
    }
}

// SAFETY: the chunk lies at its offset in the buffer, and the pool is kept.
unsafe impl<P: PoolHandle> Reachable for Chunk<P> {
    fn iova(&self) -> u64 {
        self.iova
    }
}

impl<M: DmaHandle> fmt::Debug for Pool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("buffer", &self.buffer)
            .field("chunk", &self.chunk)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl<P: PoolHandle> fmt::Debug for Chunk<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk")
            .field("index", &self.index)
            .field("iova", &self.iova)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { count } => write!(f, "a pool of {count} chunks: 1 to {MOST} can be"),
            Self::Chunk { len } => {
                write!(
                    f,
                    "a chunk of {len} bytes is not a multiple of 8, or too long"
                )
            }
            Self::Dma(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for PoolError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Dma(error) => error.source(),
            Self::Count { .. } | Self::Chunk { .. } => None,
        }
    }
}

#[cfg(feature = "defmt")]
impl<M: DmaHandle> defmt::Format for Pool<M> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Pool({} chunks of {} bytes)", self.count, self.chunk);
    }
}

#[cfg(feature = "defmt")]
impl<P: PoolHandle> defmt::Format for Chunk<P> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Chunk({} at {})", self.index, self.iova);
    }
}
