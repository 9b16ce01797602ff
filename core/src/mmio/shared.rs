//! Memory that a device reads and writes.

use core::convert::Infallible;
use core::marker::PhantomData;
use core::ptr::NonNull;

use super::bytes::{copy, is_block, load_words, store_words};
use super::{Access, Address, Addressable, Origin as _, Protection, Unrestricted, Width};

/// Memory of the program that devices and several threads may read and write at any time.
///
/// An access is one relaxed atomic access, which is the same instruction as a bare one, and bytes
/// in bulk are copied as the processor copies best. Threads that reach the same memory at the same
/// time by accesses of one width make no data race. Of accesses of different widths that overlap
/// and race, and of copies in bulk that race, Rust's memory model promises nothing, as C++'s: that
/// each of them is one access of the processor's, and sees for each byte what some access put
/// there, rests on the compiler and the machine.
#[derive(Debug)]
pub struct SharedMemory<'m> {
    base: NonNull<u8>,
    len: usize,
    memory: PhantomData<&'m ()>,
}

impl SharedMemory<'_> {
    /// Creates an access to the `len` bytes at `base`.
    ///
    /// # Safety
    /// For as long as the value lives, `base` is the start of `len` bytes that are valid for reads
    /// and writes, at an address that is a multiple of 8. The program reaches them at the same
    /// time only through such values, or by atomic accesses: no reference to them is used.
    #[must_use]
    pub const unsafe fn new(base: NonNull<u8>, len: usize) -> Self {
        Self {
            base,
            len,
            memory: PhantomData,
        }
    }
}

// SAFETY: the memory has no thread of its own.
unsafe impl Send for SharedMemory<'_> {}

// SAFETY: through a shared reference atomic accesses are made, and no reference to the memory
// itself is ever formed. What the memory model leaves open of them, the type says.
unsafe impl Sync for SharedMemory<'_> {}

// SAFETY: the constructor's caller vouches for the memory, and one atomic access is one of its
// width.
unsafe impl Access for SharedMemory<'_> {
    type Error = Infallible;
    type Origin = Address;

    #[inline]
    fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn protection(&self) -> Protection {
        Protection::BOTH
    }

    #[inline]
    fn origin(&self, offset: usize) -> Address {
        Address::new(self.base).behind(offset)
    }

    #[inline]
    unsafe fn load<T: Width>(&self, origin: Address, offset: usize) -> Result<T, Infallible> {
        // SAFETY: the memory is valid, and the program writes it by atomic accesses alone: by the
        // constructor's promise. The place is aligned and in it: by the caller's.
        let raw = unsafe { T::read_relaxed(origin.at(offset)) };
        Ok(T::from_device(raw))
    }

    #[inline]
    unsafe fn store<T: Width>(
        &self,
        origin: Address,
        offset: usize,
        value: T,
    ) -> Result<(), Infallible> {
        // SAFETY: as above.
        unsafe { T::write_relaxed(origin.at(offset), value.to_device()) };
        Ok(())
    }

    #[inline]
    unsafe fn load_bytes(&self, offset: usize, bytes: &mut [u8]) -> Result<(), Infallible> {
        if is_block(bytes.len()) {
            let from = self.origin(offset).at::<u8>(0);
            // SAFETY: the memory is valid and reached by atomic accesses or in this way alone, by
            // the constructor's promise; the bytes lie in it, by the caller's. What is borrowed
            // lies elsewhere, as no reference to the memory is used.
            unsafe { copy(from, bytes.as_mut_ptr(), bytes.len()) };
            return Ok(());
        }
        // SAFETY: the caller's promise is passed on.
        unsafe { load_words(self, offset, bytes) }
    }

    #[inline]
    unsafe fn store_bytes(&self, offset: usize, bytes: &[u8]) -> Result<(), Infallible> {
        if is_block(bytes.len()) {
            let to = self.origin(offset).at::<u8>(0);
            // SAFETY: as above.
            unsafe { copy(bytes.as_ptr(), to, bytes.len()) };
            return Ok(());
        }
        // SAFETY: the caller's promise is passed on.
        unsafe { store_words(self, offset, bytes) }
    }
}

// SAFETY: the memory is valid for reads and writes, and atomic accesses of one width race with
// nothing; of others see the type.
unsafe impl Unrestricted for SharedMemory<'_> {}

// SAFETY: the constructor's caller vouches for the memory.
unsafe impl Addressable for SharedMemory<'_> {
    #[inline]
    fn as_ptr(&self) -> NonNull<u8> {
        self.base
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for SharedMemory<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "SharedMemory({} bytes)", self.len);
    }
}
