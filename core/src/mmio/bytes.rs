//! Bytes in bulk, between device memory and slices.

use super::Access;

/// Reads bytes in accesses of up to 64 bits, each at its natural alignment.
///
/// # Safety
/// As for [`Access::load_bytes`].
pub(super) unsafe fn load_words<A: Access>(
    access: &A,
    offset: usize,
    bytes: &mut [u8],
) -> Result<(), A::Error> {
    let origin = access.origin(offset);
    let (head, rest) = bytes.split_at_mut(head(offset, bytes.len()));
    let (words, tail) = rest.as_chunks_mut::<8>();
    let mut at = 0_usize;
    for byte in head {
        // SAFETY: the byte is one of those that lie in the stretch, as the caller promises.
        *byte = unsafe { access.load(origin, at) }?;
        at = at.wrapping_add(1);
    }
    for word in words {
        // SAFETY: as above; after the head, the offset is a multiple of 8.
        let value: u64 = unsafe { access.load(origin, at) }?;
        *word = value.to_le_bytes();
        at = at.wrapping_add(8);
    }
    for byte in tail {
        // SAFETY: as above.
        *byte = unsafe { access.load(origin, at) }?;
        at = at.wrapping_add(1);
    }
    Ok(())
}

/// Writes bytes as [`load_words`] reads them.
///
/// # Safety
/// As for [`Access::store_bytes`].
pub(super) unsafe fn store_words<A: Access>(
    access: &A,
    offset: usize,
    bytes: &[u8],
) -> Result<(), A::Error> {
    let origin = access.origin(offset);
    let (head, rest) = bytes.split_at(head(offset, bytes.len()));
    let (words, tail) = rest.as_chunks::<8>();
    let mut at = 0_usize;
    for byte in head {
        // SAFETY: the byte is one of those that lie in the stretch, as the caller promises.
        unsafe { access.store(origin, at, *byte) }?;
        at = at.wrapping_add(1);
    }
    for word in words {
        // SAFETY: as above; after the head, the offset is a multiple of 8.
        unsafe { access.store(origin, at, u64::from_le_bytes(*word)) }?;
        at = at.wrapping_add(8);
    }
    for byte in tail {
        // SAFETY: as above.
        unsafe { access.store(origin, at, *byte) }?;
        at = at.wrapping_add(1);
    }
    Ok(())
}

/// Returns how many of `len` bytes at `offset` come before the first whole word.
const fn head(offset: usize, len: usize) -> usize {
    let before = offset.wrapping_neg() & 7;
    if before < len { before } else { len }
}

/// From how many bytes on the processor's block copy is faster than a loop of words. It takes some
/// 40 cycles to start where it is not made for short blocks ("fast short `rep movsb`").
const BLOCK: usize = 128;

/// Tells whether [`copy`] copies this number of bytes.
#[inline]
pub(super) const fn is_block(len: usize) -> bool {
    cfg!(target_arch = "x86_64") && len >= BLOCK
}

/// Copies `len` bytes as the processor likes best, from or to memory that others may write
/// meanwhile.
///
/// # Safety
/// `from` is valid for reads of `len` bytes and `to` for writes, and they don't overlap. Of the
/// two, at most one is memory that others may write meanwhile; the program writes that only
/// atomically or by this function.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the instruction reads and writes what the caller vouches for and nothing else, on no
    // stack and in no register but those that are named; the direction flag is clear, as for every
    // function. What it means that a byte changes meanwhile is for the processor to say, which
    // copies what it finds: the compiler looks into no assembly and makes nothing of it, as of a
    // volatile access. Each byte is read once.
    unsafe {
        core::arch::asm!(
            "rep movsb",
            inout("rsi") from => _,
            inout("rdi") to => _,
            inout("rcx") len => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Copies nothing: [`is_block`] finds no block here.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(super) unsafe fn copy(_: *const u8, _: *mut u8, _: usize) {}
