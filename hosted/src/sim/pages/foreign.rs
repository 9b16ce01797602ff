//! Memory that a user of the simulated kernel has.
#![expect(unsafe_code, reason = "it is reached through a pointer")]

use core::ptr::NonNull;
use core::slice;
use std::sync::atomic::AtomicU64;

use vfio_core::sys::Errno;

use super::PAGE;

/// Whole pages that are the user's.
pub(super) struct Foreign {
    base: NonNull<AtomicU64>,
    /// Words.
    len: usize,
}

impl Foreign {
    /// Takes the `len` bytes at `base`.
    ///
    /// # Safety
    /// As for [`Sys::foreign_memory`](vfio_core::sys::Sys::foreign_memory).
    pub(super) unsafe fn new(base: NonNull<u8>, len: usize) -> Result<Self, Errno> {
        let is_whole = len != 0 && len.is_multiple_of(PAGE);
        if !is_whole || !base.as_ptr().addr().is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        let (base, len) = (base.cast(), len / size_of::<AtomicU64>());
        Ok(Self { base, len })
    }

    /// Returns the words, as their bytes lie.
    pub(super) fn words(&self) -> &[AtomicU64] {
        // SAFETY: whoever called `new` promised that so many bytes are valid until they are
        // unmapped, which waits for the copies of devices (`Root`), and that nobody has a reference to
        // them but to atomics. A page is aligned for a word.
        unsafe { slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }
}

// SAFETY: the words are atomic, and whose they are does not depend on a thread.
unsafe impl Send for Foreign {}

// SAFETY: as above.
unsafe impl Sync for Foreign {}
