//! Device memory in the address space.

use core::convert::Infallible;
use core::marker::PhantomData;
use core::ptr::NonNull;

use super::{Access, Address, Origin as _, Protection, Width};

/// A stretch of a device in the address space, such as a BAR: an access is one instruction.
///
/// It is no memory of the program's; what the program and a device share is
/// [`SharedMemory`](super::SharedMemory).
#[derive(Debug)]
pub struct Mapped<'m> {
    base: NonNull<u8>,
    len: usize,
    protection: Protection,
    mapping: PhantomData<&'m ()>,
}

impl Mapped<'_> {
    /// Creates an access to the `len` bytes at `base`, which are mapped for what `protection`
    /// permits.
    ///
    /// # Safety
    /// For as long as the value lives, `base` is the start of `len` bytes that are mapped outside
    /// of all Rust allocations, at an address that is a multiple of 8. To read or write any of
    /// them at its natural alignment, as far as `protection` permits it, does not trap and changes
    /// no memory of Rust's.
    #[must_use]
    pub const unsafe fn new(base: NonNull<u8>, len: usize, protection: Protection) -> Self {
        Self {
            base,
            len,
            protection,
            mapping: PhantomData,
        }
    }
}

// SAFETY: a device has no thread of its own, and nothing of Rust's refers to its registers.
unsafe impl Send for Mapped<'_> {}

// SAFETY: through a shared reference volatile accesses are made to what is outside of all Rust
// allocations. What such an access does is for the hardware to say (`core::ptr::read_volatile`),
// and there, accesses by several threads come one after another; the rules on data races are
// about memory in allocations. No reference to the registers is ever formed.
unsafe impl Sync for Mapped<'_> {}

// SAFETY: the constructor's caller vouches for the memory, and one volatile access of an integer
// is one access of its width.
unsafe impl Access for Mapped<'_> {
    type Error = Infallible;
    type Origin = Address;

    #[inline]
    fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn protection(&self) -> Protection {
        self.protection
    }

    #[inline]
    fn origin(&self, offset: usize) -> Address {
        Address::new(self.base).behind(offset)
    }

    #[inline]
    unsafe fn load<T: Width>(&self, origin: Address, offset: usize) -> Result<T, Infallible> {
        // SAFETY: what is mapped may be accessed, by the constructor's promise; the register lies
        // in it and is aligned, and permits the access, by the caller's.
        let raw = unsafe { T::read_volatile(origin.at(offset)) };
        Ok(T::from_device(raw))
    }

    #[inline]
    unsafe fn store<T: Width>(
        &self,
        origin: Address,
        offset: usize,
        value: T,
    ) -> Result<(), Infallible> {
        // SAFETY: what is mapped may be accessed, by the constructor's promise; the register lies
        // in it and is aligned, and permits the access, by the caller's.
        unsafe { T::write_volatile(origin.at(offset), value.to_device()) };
        Ok(())
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Mapped<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Mapped({} bytes)", self.len);
    }
}
