//! How device memory is reached.

use core::ptr::NonNull;

use super::bytes::{load_words, store_words};
use super::{Origin, Protection, Width};

/// Reaches a stretch of device memory, from its first byte on.
///
/// Whoever reaches it through something else implements [`Forward`](super::Forward) instead.
///
/// # Safety
///
/// Implementations that touch memory stay within [`Access::len`] bytes for as long as they live,
/// and make each access as one of its full width; where a processor or a kernel has none of 64 bits
/// it is two, the low half first. The length and the protection never change. What [`Access::origin`] gave
/// holds for as long, also where the value was moved since.
pub unsafe trait Access {
    /// How an access can fail; [`core::convert::Infallible`] where it can't.
    type Error: core::error::Error + 'static;

    /// Where a register is: an [`Address`](super::Address) where memory is touched, an offset in
    /// bytes ([`usize`]) everywhere else.
    type Origin: Origin;

    /// Returns the length of the stretch in bytes.
    fn len(&self) -> usize;

    /// Tells whether the stretch is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns what the stretch permits. Where that is not all, no other access is made.
    fn protection(&self) -> Protection;

    /// Finds the place `offset` bytes from the start, once for all accesses to come.
    fn origin(&self, offset: usize) -> Self::Origin;

    /// Reads the register `offset` bytes behind `origin`, in the host's byte order.
    ///
    /// # Errors
    /// Where the access fails; never a value that was not read.
    ///
    /// # Safety
    /// `origin` is that of some offset, by [`Access::origin`] of this very value, or lies behind
    /// it. The sum of all offsets is a multiple of the size of `T`, and at least that size below
    /// [`Access::len`]. The stretch can be read, by [`Access::protection`].
    unsafe fn load<T: Width>(&self, origin: Self::Origin, offset: usize) -> Result<T, Self::Error>;

    /// Writes the register `offset` bytes behind `origin`, from the host's byte order.
    ///
    /// # Errors
    /// Where the access fails.
    ///
    /// # Safety
    /// As for [`Access::load`], where the stretch can be written.
    unsafe fn store<T: Width>(
        &self,
        origin: Self::Origin,
        offset: usize,
        value: T,
    ) -> Result<(), Self::Error>;

    /// Reads the bytes at `offset`: for memory, where nobody minds how it is read.
    ///
    /// It makes accesses of up to 64 bits, each at its natural alignment, unless the memory has
    /// a faster way.
    ///
    /// # Errors
    /// Where an access fails; some of the bytes may have been read.
    ///
    /// # Safety
    /// The bytes lie within [`Access::len`], and can be read, by [`Access::protection`].
    unsafe fn load_bytes(&self, offset: usize, bytes: &mut [u8]) -> Result<(), Self::Error>
    where
        Self: Sized,
    {
        // SAFETY: the caller's promise is passed on.
        unsafe { load_words(self, offset, bytes) }
    }

    /// Writes bytes at `offset` as [`Access::load_bytes`] reads them.
    ///
    /// # Errors
    /// Where an access fails; some of the bytes may have been written.
    ///
    /// # Safety
    /// As for [`Access::load_bytes`], where the bytes can be written.
    unsafe fn store_bytes(&self, offset: usize, bytes: &[u8]) -> Result<(), Self::Error>
    where
        Self: Sized,
    {
        // SAFETY: the caller's promise is passed on.
        unsafe { store_words(self, offset, bytes) }
    }
}

/// Device memory that may be accessed anywhere in its bounds.
///
/// It is for memory that is the program's own, and for accesses that refuse with an error what is
/// not permitted: a [`Window`](super::Window) over it takes no check. Mapped stretches of a device
/// are none, as the process ends where one is written that was mapped to be read.
///
/// # Safety
///
/// [`Access::protection`] is [`Protection::BOTH`], and each load and store within the length is
/// sound whatever other threads and devices do with the memory meanwhile.
#[diagnostic::on_unimplemented(
    message = "`{Self}` may permit less than reading and writing",
    note = "`Window::with_permission` asks what it permits"
)]
pub unsafe trait Unrestricted: Access {}

/// Memory of the program's own, which has an address: what a device is given.
///
/// # Safety
///
/// For as long as the value lives, also where it was moved since, [`Addressable::as_ptr`] returns
/// the same address, at which [`Access::len`] bytes can be read and written.
pub unsafe trait Addressable: Unrestricted {
    /// Returns the address of the first byte.
    ///
    /// Devices and other threads may read and write the memory at any time, so that a reference to
    /// it takes what [`Window::as_slice`](super::Window::as_slice) asks for.
    fn as_ptr(&self) -> NonNull<u8>;
}
