//! A part of a buffer as a buffer of its own.

use core::convert::Infallible;
use core::ptr::NonNull;

use super::{Buffer, DmaHandle, Reachable};
use crate::handle::Handle;
use crate::mmio::{Addressable, Forward, OffsetError, Part, Through, Unrestricted, Window};

/// A handle to a [`Buffer`]: `&Buffer<M>`, `Arc<Buffer<M>>` and the like.
pub trait BufferHandle: Handle<Target = Buffer<<Self as BufferHandle>::Dma>> {
    /// The buffer's handle to its address space.
    type Dma: DmaHandle;
}

impl<M: DmaHandle, H: Handle<Target = Buffer<M>>> BufferHandle for H {
    type Dma = M;
}

/// Some bytes of a buffer, which stays mapped for as long as a part of it lives.
///
/// Parts may overlap, as shared memory does.
#[derive(Debug)]
pub struct BufferPart<B: BufferHandle> {
    bytes: Part<Through<B>>,
    iova: u64,
}

impl<M: DmaHandle> Buffer<M> {
    /// Returns the `len` bytes at `offset` (bytes), a multiple of 8, as a buffer of their own.
    ///
    /// # Errors
    /// [`OffsetError`] where they do not lie in the buffer.
    pub fn part(&self, offset: usize, len: usize) -> Result<BufferPart<&Self>, OffsetError> {
        BufferPart::new(self, offset, len)
    }
}

impl<B: BufferHandle> BufferPart<B> {
    /// Returns a part of a buffer, as [`Buffer::part`] does, and keeps the handle.
    ///
    /// # Errors
    /// As [`Buffer::part`].
    pub fn new(buffer: B, offset: usize, len: usize) -> Result<Self, OffsetError> {
        let iova = behind(buffer.iova(), offset);
        let bytes = Part::new(Through::new(buffer), offset, len)?;
        Ok(Self { bytes, iova })
    }

    /// Returns where the device finds the bytes.
    #[inline]
    #[must_use]
    pub const fn iova(&self) -> u64 {
        self.iova
    }

    /// Returns a window that reads and writes the bytes.
    #[inline]
    pub fn window(&mut self) -> Window<&Self> {
        Window::new(&*self)
    }
}

/// Returns the address `offset` bytes behind one of a buffer, which has as many.
pub(super) fn behind(iova: u64, offset: usize) -> u64 {
    iova.saturating_add(u64::try_from(offset).unwrap_or(u64::MAX))
}

// SAFETY: the bytes are always the same ones.
unsafe impl<B: BufferHandle> Forward for BufferPart<B> {
    type Target = Part<Through<B>>;
    type Error = Infallible;

    #[inline]
    fn target(&self) -> &Part<Through<B>> {
        &self.bytes
    }
}

// SAFETY: every access is one of the buffer.
unsafe impl<B: BufferHandle> Unrestricted for BufferPart<B> {}

// SAFETY: the address is that of the bytes, as above.
unsafe impl<B: BufferHandle> Addressable for BufferPart<B> {
    #[inline]
    fn as_ptr(&self) -> NonNull<u8> {
        self.bytes.as_ptr()
    }
}

// SAFETY: the bytes lie at the offset in the buffer, and the buffer is kept.
unsafe impl<B: BufferHandle> Reachable for BufferPart<B> {
    fn iova(&self) -> u64 {
        self.iova
    }
}

#[cfg(feature = "defmt")]
impl<B: BufferHandle> defmt::Format for BufferPart<B> {
    fn format(&self, f: defmt::Formatter<'_>) {
        let len = crate::mmio::Access::len(self);
        defmt::write!(f, "BufferPart({} bytes at {})", len, self.iova);
    }
}
