//! Memory for DMA: from an arena that is part of the image, or the caller's own. It lies where it
//! has its address.

use core::cell::UnsafeCell;
use core::convert::Infallible;
use core::ptr::NonNull;

use spin::Mutex;
use vfio_core::mmio::{Access as _, Addressable, Forward, SharedMemory, Unrestricted};
use vfio_core::sys::Errno;

use super::{PAGE, Pages};
use crate::paging::address_of;

/// Words of 64 pages each in the arena.
const WORDS: usize = 4;

/// Bytes of the arena: 1 MiB.
pub(super) const ARENA: usize = WORDS * 64 * PAGE;

/// Pages that are given out.
#[repr(C, align(4096))]
struct Arena(UnsafeCell<[u8; ARENA]>);

// SAFETY: its bytes are reached only through `Memory`, each page through one at a time.
unsafe impl Sync for Arena {}

#[unsafe(link_section = ".uninit.arena")]
static BYTES: Arena = Arena(UnsafeCell::new([0; ARENA]));

/// Which pages are taken.
static PAGES: Mutex<Pages<WORDS>> = Mutex::new(Pages::new());

/// Pages of the arena, given back on drop; or the caller's.
#[derive(Debug)]
pub struct Memory {
    bytes: SharedMemory<'static>,
    /// The first page of the arena; none where the memory is the caller's.
    first: Option<usize>,
}

impl Memory {
    /// Allocates zeroed memory of at least `len` bytes.
    pub(super) fn new(len: usize) -> Result<Self, Errno> {
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        let pages = PAGES.lock().take(len.div_ceil(PAGE)).ok_or(Errno::ENOMEM)?;
        let base = NonNull::new(BYTES.0.get())
            .ok_or(Errno::ENOMEM)?
            .cast::<u8>();
        let start = pages.start.saturating_mul(PAGE);
        let len = pages.len().saturating_mul(PAGE);
        // SAFETY: the pages were just taken, and so are in the arena.
        let base = unsafe { base.add(start) };
        // SAFETY: they belong to the value alone until it is dropped, at a page boundary, and can
        // be read and written; no reference to them is ever made.
        let bytes = unsafe { SharedMemory::new(base, len) };
        for at in (0..len).step_by(8) {
            // SAFETY: within the length, and aligned.
            let Ok(()) = unsafe { bytes.store(bytes.origin(at), 0, 0_u64) };
        }
        let first = Some(pages.start);
        Ok(Self { bytes, first })
    }

    /// Takes memory that is the caller's.
    ///
    /// # Safety
    /// As for [`Sys::foreign_memory`](vfio_core::sys::Sys::foreign_memory).
    pub(super) unsafe fn foreign(base: NonNull<u8>, len: usize) -> Result<Self, Errno> {
        let is_whole = len != 0 && len.is_multiple_of(PAGE);
        if !is_whole || !base.as_ptr().addr().is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the bytes can be read and written for as long as the value lives, and nobody
        // forms a reference to them meanwhile, as the caller promises.
        let bytes = unsafe { SharedMemory::new(base, len) };
        let first = None;
        Ok(Self { bytes, first })
    }

    /// Returns where the memory is in the machine.
    #[must_use]
    pub fn physical(&self) -> u64 {
        address_of(self.bytes.as_ptr().as_ptr())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(first) = self.first {
            let end = first.saturating_add(self.bytes.len() / PAGE);
            PAGES.lock().give(first..end);
        }
    }
}

// SAFETY: what reaches the memory is never changed for another.
unsafe impl Forward for Memory {
    type Target = SharedMemory<'static>;
    type Error = Infallible;

    #[inline]
    fn target(&self) -> &SharedMemory<'static> {
        &self.bytes
    }
}

// SAFETY: every access is one of `SharedMemory`.
unsafe impl Unrestricted for Memory {}

// SAFETY: the address is that of the pages, which are the value's until it is dropped.
unsafe impl Addressable for Memory {
    #[inline]
    fn as_ptr(&self) -> NonNull<u8> {
        self.bytes.as_ptr()
    }
}
