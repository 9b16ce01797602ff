//! A stretch of device memory with checked offsets.

use core::marker::PhantomData;
use core::ptr::NonNull;

use super::{
    Access, Addressable, Array, Block, CanReadWrite, NotPermitted, OffsetError, Part, Permission,
    Readable, RegisterError, Registers, Through, Unrestricted, Width, Writable,
};
use crate::handle::{Handle, Projection};

/// A stretch of device memory that is read and written at offsets known at run time.
///
/// `P` is what the region permits: [`CanRead`](super::CanRead), [`CanReadWrite`] or
/// [`CanWrite`](super::CanWrite).
///
/// ```
/// use std::sync::atomic::AtomicU64;
/// use vfio_core::mmio::{OffsetError, RegisterError, SharedMemory, Window};
///
/// let mut memory = [const { AtomicU64::new(0) }; 8];
/// let base = std::ptr::NonNull::from(&mut memory).cast();
/// // SAFETY: these are 64 bytes, which outlive the window and are reached through it alone.
/// let mut window = Window::new(unsafe { SharedMemory::new(base, 64) });
/// window.write::<u32>(8, 0x1234_5678)?;
/// assert_eq!(window.read::<u16>(10)?, 0x1234);
/// let refused = window.read::<u32>(62);
/// assert_eq!(
///     refused,
///     Err(RegisterError::Offset(OffsetError::Misaligned { offset: 62, align: 4 }))
/// );
/// # Ok::<_, RegisterError<std::convert::Infallible>>(())
/// ```
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Window<A, P = CanReadWrite> {
    access: A,
    permission: PhantomData<P>,
}

impl<A: Access, P> Window<A, P> {
    /// Creates a window over an access that permits all that `P` does.
    const fn permitted(access: A) -> Self {
        Self {
            access,
            permission: PhantomData,
        }
    }

    /// Creates a window over an access that may permit less than reading and writing.
    ///
    /// # Errors
    /// [`NotPermitted`] where `P` permits more.
    #[inline]
    pub fn with_permission(access: A) -> Result<Self, NotPermitted>
    where
        P: Permission,
    {
        let permitted = access.protection();
        if permitted.covers(P::PROTECTION) {
            Ok(Self::permitted(access))
        } else {
            Err(NotPermitted { permitted })
        }
    }

    /// Returns the access that the window is over.
    pub(crate) const fn access(&self) -> &A {
        &self.access
    }

    /// Returns the length in bytes.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.access.len()
    }

    /// Tells whether the window is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.access.is_empty()
    }

    /// Checks that `offset` (bytes) names a register of type `T`, and reaches nothing.
    ///
    /// # Errors
    /// [`OffsetError`], as [`Window::read`] and [`Window::write`] would return it.
    #[inline]
    pub fn check<T: Width>(&self, offset: usize) -> Result<(), OffsetError> {
        check::<T>(offset, self.access.len())
    }

    /// Reads the register at `offset` (bytes). A read may have side effects.
    ///
    /// # Errors
    /// [`RegisterError`]; never a value that was not read.
    #[inline]
    pub fn read<T: Width>(&mut self, offset: usize) -> Result<T, RegisterError<A::Error>>
    where
        P: Readable,
    {
        check::<T>(offset, self.access.len()).map_err(RegisterError::Offset)?;
        // SAFETY: the offset was checked.
        unsafe { self.access.load(self.access.origin(offset), 0) }.map_err(RegisterError::Access)
    }

    /// Writes the register at `offset` (bytes).
    ///
    /// # Errors
    /// [`RegisterError`]
    #[inline]
    pub fn write<T: Width>(
        &mut self,
        offset: usize,
        value: T,
    ) -> Result<(), RegisterError<A::Error>>
    where
        P: Writable,
    {
        check::<T>(offset, self.access.len()).map_err(RegisterError::Offset)?;
        // SAFETY: the offset was checked.
        unsafe { self.access.store(self.access.origin(offset), 0, value) }
            .map_err(RegisterError::Access)
    }

    /// Returns the block of registers `R` at `offset` (bytes): all of it is checked here, once.
    ///
    /// # Errors
    /// [`OffsetError`] where the block does not lie in the window, or not at its alignment.
    #[inline]
    pub fn block<R: Registers>(&mut self, offset: usize) -> Result<Block<&A, R, P>, OffsetError> {
        Block::new(&self.access, offset)
    }

    /// Returns the `len` bytes at `offset` (bytes), a multiple of 8.
    ///
    /// # Errors
    /// [`OffsetError`] where they do not lie in the window.
    #[inline]
    pub fn part(&mut self, offset: usize, len: usize) -> Result<Window<Part<&A>, P>, OffsetError> {
        Part::new(&self.access, offset, len).map(Window::permitted)
    }

    /// Returns the `len` bytes at `offset` (bytes), a multiple of 8, in place of the window.
    ///
    /// # Errors
    /// As [`Window::part`].
    #[inline]
    pub fn into_part(self, offset: usize, len: usize) -> Result<Window<Part<A>, P>, OffsetError> {
        Part::new(self.access, offset, len).map(Window::permitted)
    }

    /// Reads the bytes at `offset` (bytes): for memory, where nobody minds how it is read.
    ///
    /// Memory of the program's own is copied at once, as fast as memory is; of a device it takes
    /// accesses of up to 64 bits, each at its natural alignment.
    ///
    /// # Errors
    /// [`RegisterError`]; where an access fails, some of the bytes may have been read.
    #[inline]
    pub fn read_bytes(
        &mut self,
        offset: usize,
        bytes: &mut [u8],
    ) -> Result<(), RegisterError<A::Error>>
    where
        P: Readable,
    {
        check_all(offset, bytes.len(), self.access.len()).map_err(RegisterError::Offset)?;
        // SAFETY: the bytes lie in the stretch, which can be read.
        unsafe { self.access.load_bytes(offset, bytes) }.map_err(RegisterError::Access)
    }

    /// Writes bytes at `offset` (bytes) as [`Window::read_bytes`] reads them.
    ///
    /// # Errors
    /// [`RegisterError`]; where an access fails, some of the bytes may have been written.
    #[inline]
    pub fn write_bytes(
        &mut self,
        offset: usize,
        bytes: &[u8],
    ) -> Result<(), RegisterError<A::Error>>
    where
        P: Writable,
    {
        check_all(offset, bytes.len(), self.access.len()).map_err(RegisterError::Offset)?;
        // SAFETY: the bytes lie in the stretch, which can be written.
        unsafe { self.access.store_bytes(offset, bytes) }.map_err(RegisterError::Access)
    }

    /// Returns the memory itself, to be read without a copy.
    ///
    /// # Safety
    /// For as long as the slice is used, nobody writes the memory: neither a device nor, through
    /// another window, the program. What a device wrote is seen after
    /// [`after_status`](super::after_status).
    #[inline]
    #[must_use]
    pub unsafe fn as_slice(&self) -> &[u8]
    where
        A: Addressable,
        P: Readable,
    {
        let memory = NonNull::slice_from_raw_parts(self.access.as_ptr(), self.access.len());
        // SAFETY: the memory is there for as long as the window is, and of bytes; that nobody
        // writes it is the caller's promise.
        unsafe { memory.as_ref() }
    }

    /// Returns the memory itself, to be read and written without a copy.
    ///
    /// # Safety
    /// For as long as the slice is used, nobody else reads or writes the memory: neither a device
    /// nor, through another window, the program. What a device wrote is seen after
    /// [`after_status`](super::after_status), and it sees what is written here after
    /// [`before_doorbell`](super::before_doorbell).
    #[inline]
    #[must_use]
    pub unsafe fn as_mut_slice(&mut self) -> &mut [u8]
    where
        A: Addressable,
        P: Readable + Writable,
    {
        let mut memory = NonNull::slice_from_raw_parts(self.access.as_ptr(), self.access.len());
        // SAFETY: as above; that nobody else reaches it is the caller's promise.
        unsafe { memory.as_mut() }
    }

    /// Makes another window over the same stretch. Two windows can write the same registers: this
    /// is for a driver that gives each its own, such as doorbells to the queues that they belong
    /// to.
    #[inline]
    #[must_use]
    pub const fn share(&self) -> Window<&A, P> {
        Window::permitted(&self.access)
    }

    /// Returns a window over the same stretch as the one that `window` selects of what `handle`
    /// points to. It holds on to the handle, where [`Window::share`] borrows.
    #[inline]
    pub fn through<H: Handle>(
        handle: H,
        window: impl FnOnce(&H::Target) -> &Self + 'static,
    ) -> Window<Through<Projection<H, A>>, P> {
        let access = Projection::new(handle, window).map(|window| window.access());
        Window::permitted(Through::new(access))
    }

    /// Returns `len` blocks of registers `R` in a row at `offset` (bytes), in place of the window.
    ///
    /// # Errors
    /// As [`Window::block`].
    pub fn into_array<R: Registers>(
        self,
        offset: usize,
        len: usize,
    ) -> Result<Array<A, R, P>, OffsetError> {
        Array::new(self.access, offset, len)
    }

    /// Returns the block of registers `R` at `offset` (bytes), in place of the window.
    ///
    /// # Errors
    /// As [`Window::block`].
    #[inline]
    pub fn into_block<R: Registers>(self, offset: usize) -> Result<Block<A, R, P>, OffsetError> {
        Block::new(self.access, offset)
    }
}

impl<A: Access> Window<A> {
    /// Creates a window over an access that can be read and written.
    #[must_use]
    pub const fn new(access: A) -> Self
    where
        A: Unrestricted,
    {
        Self::permitted(access)
    }

    /// Returns the window with no more than the permission `P`.
    #[must_use]
    pub fn restrict<P: Permission>(self) -> Window<A, P> {
        Window::permitted(self.access)
    }
}

/// Tells whether `offset` names a register of type `T` in a window of `len` bytes.
#[inline]
fn check<T: Width>(offset: usize, len: usize) -> Result<(), OffsetError> {
    // Low bits that are set become high bits: one comparison finds both faults.
    if offset.rotate_right(T::SHIFT) < len >> T::SHIFT {
        Ok(())
    } else {
        Err(fault::<T>(offset, len))
    }
}

/// Tells whether `size` bytes at `offset` lie in a window of `len` bytes.
#[inline]
fn check_all(offset: usize, size: usize, len: usize) -> Result<(), OffsetError> {
    match offset.checked_add(size) {
        Some(end) if end <= len => Ok(()),
        _ => Err(OffsetError::OutOfBounds { offset, size, len }),
    }
}

/// Tells why an offset is refused.
#[cold]
fn fault<T>(offset: usize, len: usize) -> OffsetError {
    let size = size_of::<T>();
    if offset.is_multiple_of(size) {
        OffsetError::OutOfBounds { offset, size, len }
    } else {
        OffsetError::Misaligned {
            offset,
            align: size,
        }
    }
}
