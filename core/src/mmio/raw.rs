//! How a register of each width is read and written in memory.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering};

use volatile::VolatilePtr;

/// Accesses to memory, each one access of the processor's. Values are as they lie in memory.
///
/// A processor of 32 bits may have none of 64: there, it is two, of the half at the lower address
/// first.
pub trait Raw: Sized {
    /// Reads memory outside of all Rust allocations, or memory that nobody writes meanwhile.
    ///
    /// # Safety
    /// As for [`core::ptr::read_volatile`]; `at` is not null.
    unsafe fn read_volatile(at: *mut Self) -> Self;

    /// Writes what [`Raw::read_volatile`] reads.
    ///
    /// # Safety
    /// As for [`core::ptr::write_volatile`]; `at` is not null.
    unsafe fn write_volatile(at: *mut Self, value: Self);

    /// Reads memory that others may write meanwhile.
    ///
    /// # Safety
    /// `at` is a multiple of the size, and valid for reads and writes. The program writes the
    /// memory at the same time only by [`Raw::write_relaxed`].
    unsafe fn read_relaxed(at: *mut Self) -> Self;

    /// Writes memory that others may read or write meanwhile.
    ///
    /// # Safety
    /// As for [`Raw::read_relaxed`]; the program does not read it in another way either.
    unsafe fn write_relaxed(at: *mut Self, value: Self);
}

macro_rules! raw {
    ($($type:ty, $atomic:ty;)*) => {
        $(
            impl Raw for $type {
                #[inline]
                unsafe fn read_volatile(at: *mut Self) -> Self {
                    // SAFETY: the caller's promise is passed on.
                    unsafe { register(at) }.read()
                }

                #[inline]
                unsafe fn write_volatile(at: *mut Self, value: Self) {
                    // SAFETY: the caller's promise is passed on.
                    unsafe { register(at) }.write(value);
                }

                #[inline]
                unsafe fn read_relaxed(at: *mut Self) -> Self {
                    // SAFETY: the pointer is valid and aligned, and conflicting accesses of the
                    // program are atomic, as the caller promises.
                    unsafe { <$atomic>::from_ptr(at) }.load(Ordering::Relaxed)
                }

                #[inline]
                unsafe fn write_relaxed(at: *mut Self, value: Self) {
                    // SAFETY: as above.
                    unsafe { <$atomic>::from_ptr(at) }.store(value, Ordering::Relaxed);
                }
            }
        )*
    };
}

raw! {
    u8, AtomicU8;
    u16, AtomicU16;
    u32, AtomicU32;
}

impl Raw for u64 {
    #[inline]
    unsafe fn read_volatile(at: *mut Self) -> Self {
        if cfg!(target_pointer_width = "64") {
            // SAFETY: the caller's promise is passed on.
            unsafe { register(at) }.read()
        } else {
            // SAFETY: the caller's promise holds for both halves.
            read_halves(at, |half| unsafe { register(half) }.read())
        }
    }

    #[inline]
    unsafe fn write_volatile(at: *mut Self, value: Self) {
        if cfg!(target_pointer_width = "64") {
            // SAFETY: the caller's promise is passed on.
            unsafe { register(at) }.write(value);
        } else {
            // SAFETY: the caller's promise holds for both halves.
            write_halves(at, value, |half, value| unsafe {
                register(half).write(value);
            });
        }
    }

    #[cfg(target_has_atomic = "64")]
    #[inline]
    unsafe fn read_relaxed(at: *mut Self) -> Self {
        // SAFETY: as for the narrower widths.
        unsafe { core::sync::atomic::AtomicU64::from_ptr(at) }.load(Ordering::Relaxed)
    }

    #[cfg(target_has_atomic = "64")]
    #[inline]
    unsafe fn write_relaxed(at: *mut Self, value: Self) {
        // SAFETY: as for the narrower widths.
        unsafe { core::sync::atomic::AtomicU64::from_ptr(at) }.store(value, Ordering::Relaxed);
    }

    #[cfg(not(target_has_atomic = "64"))]
    #[inline]
    unsafe fn read_relaxed(at: *mut Self) -> Self {
        // SAFETY: the caller's promise holds for both halves.
        read_halves(at, |half| unsafe { u32::read_relaxed(half) })
    }

    #[cfg(not(target_has_atomic = "64"))]
    #[inline]
    unsafe fn write_relaxed(at: *mut Self, value: Self) {
        // SAFETY: the caller's promise holds for both halves.
        write_halves(at, value, |half, value| unsafe {
            u32::write_relaxed(half, value);
        });
    }
}

/// Returns a register that is read and written by one access each time.
///
/// # Safety
/// As for [`core::ptr::read_volatile`] and [`core::ptr::write_volatile`], as far as it is read and
/// written; `at` is not null.
#[inline]
unsafe fn register<'m, T>(at: *mut T) -> VolatilePtr<'m, T> {
    // SAFETY: it is not null, as the caller promises.
    let at = unsafe { NonNull::new_unchecked(at) };
    // SAFETY: the caller's promise is passed on.
    unsafe { VolatilePtr::new(at) }
}

/// Reads 64 bits in halves, the lower address first.
fn read_halves(at: *mut u64, read: impl Fn(*mut u32) -> u32) -> u64 {
    let first = at.cast::<u32>();
    let halves = [read(first), read(first.wrapping_add(1))];
    zerocopy::transmute!(halves)
}

/// Writes 64 bits in halves, the lower address first.
fn write_halves(at: *mut u64, value: u64, write: impl Fn(*mut u32, u32)) {
    let first = at.cast::<u32>();
    let [low, high]: [u32; 2] = zerocopy::transmute!(value);
    write(first, low);
    write(first.wrapping_add(1), high);
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    #[test]
    fn halves_are_read_and_written_from_the_lower_address_on() {
        let mut memory = u64::from_ne_bytes([1, 2, 3, 4, 5, 6, 7, 8]);
        let at = &raw mut memory;
        let order = Cell::new(std::vec::Vec::new());
        let seen = |half: *mut u32| {
            let mut taken = order.take();
            taken.push(half.addr() - at.addr());
            order.set(taken);
        };
        let read = read_halves(at, |half| {
            seen(half);
            // SAFETY: a half of the memory above.
            unsafe { half.read_volatile() }
        });
        assert_eq!(read.to_ne_bytes(), [1, 2, 3, 4, 5, 6, 7, 8]);
        let new = u64::from_ne_bytes([9, 8, 7, 6, 5, 4, 3, 2]);
        write_halves(at, new, |half, value| {
            seen(half);
            // SAFETY: as above.
            unsafe { half.write_volatile(value) };
        });
        assert_eq!(memory, new);
        assert_eq!(order.take(), [0, 4, 0, 4]);
    }
}
