//! Device memory in the address space.

use core::convert::Infallible;
use core::marker::PhantomData;
use core::ptr::NonNull;

use volatile::VolatilePtr;

use super::{Access, Origin, Width};

/// A stretch of device memory in the address space: an access is one instruction.
#[derive(Debug)]
pub struct Mapped<'m> {
    base: NonNull<u8>,
    len: usize,
    mapping: PhantomData<&'m ()>,
}

impl Mapped<'_> {
    /// The `len` bytes at `base`.
    ///
    /// # Safety
    /// For as long as the value lives, `base` is the start of `len` bytes of mapped memory that
    /// is not Rust's to use otherwise, at an address that is a multiple of 8; reading or writing
    /// any of it at its natural alignment is sound.
    #[must_use]
    pub const unsafe fn new(base: NonNull<u8>, len: usize) -> Self {
        Self {
            base,
            len,
            mapping: PhantomData,
        }
    }
}

// SAFETY: device memory has no thread of its own, and nothing of Rust's refers to it.
unsafe impl Send for Mapped<'_> {}

// SAFETY: through a shared reference single volatile accesses are made, which the hardware
// orders; no reference to the memory is ever formed.
unsafe impl Sync for Mapped<'_> {}

// SAFETY: the constructor's caller vouches for the memory, and one volatile access of an integer
// is one access of its width.
unsafe impl Access for Mapped<'_> {
    type Error = Infallible;

    #[inline]
    fn len(&self) -> usize {
        self.len
    }

    #[inline]
    unsafe fn load<T: Width>(&self, offset: usize) -> Result<T, Infallible> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.load_at(self.origin(0), offset) }
    }

    #[inline]
    unsafe fn store<T: Width>(&self, offset: usize, value: T) -> Result<(), Infallible> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.store_at(self.origin(0), offset, value) }
    }

    #[inline]
    fn origin(&self, offset: usize) -> Origin {
        Origin::at_address(self.base).behind(offset)
    }

    #[inline]
    unsafe fn load_at<T: Width>(&self, origin: Origin, offset: usize) -> Result<T, Infallible> {
        // SAFETY: the register lies in the memory, as the caller promises.
        let register = unsafe { register::<T>(origin, offset) };
        // SAFETY: the memory is valid and the register aligned: by the constructor's promise and
        // the caller's.
        let register = unsafe { VolatilePtr::new_read_only(register) };
        Ok(T::from_device(register.read()))
    }

    #[inline]
    unsafe fn store_at<T: Width>(
        &self,
        origin: Origin,
        offset: usize,
        value: T,
    ) -> Result<(), Infallible> {
        // SAFETY: the register lies in the memory, as the caller promises.
        let register = unsafe { register::<T>(origin, offset) };
        // SAFETY: the memory is valid and the register aligned: by the constructor's promise and
        // the caller's.
        let register = unsafe { VolatilePtr::new(register) };
        register.write(value.to_device());
        Ok(())
    }
}

/// The register `offset` bytes behind `origin`.
///
/// # Safety
/// It lies in mapped memory.
#[inline]
unsafe fn register<T>(origin: Origin, offset: usize) -> NonNull<T> {
    // SAFETY: it lies behind the start of the memory, which is not at address 0.
    unsafe { NonNull::new_unchecked(origin.address(offset)) }.cast()
}

#[cfg(feature = "defmt")]
impl defmt::Format for Mapped<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Mapped({} bytes)", self.len);
    }
}
