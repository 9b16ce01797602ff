//! Pages of the address space.

use core::ffi::c_void;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use rustix::fd::AsFd;
use rustix::mm::{MapFlags, ProtFlags, mlock, mmap, mmap_anonymous, munmap};
use vfio_core::sys::{Errno, Protection, Span};

use super::errno;

/// Pages of the address space, unmapped on drop.
#[derive(Debug)]
pub(super) struct Pages {
    base: NonNull<u8>,
    /// Whole pages, in bytes; 0 for what a cut leaves nothing of.
    len: usize,
}

impl Pages {
    /// Maps a stretch of a file, and the rest of the page in which it ends.
    pub(super) fn of_file(
        fd: &impl AsFd,
        span: Span,
        protection: Protection,
    ) -> Result<Self, Errno> {
        let len = whole(span.len)?;
        let mut prot = ProtFlags::empty();
        prot.set(ProtFlags::READ, protection.read);
        prot.set(ProtFlags::WRITE, protection.write);
        // SAFETY: the kernel chooses where, so that nothing that is in use is touched.
        let base = unsafe {
            mmap(
                core::ptr::null_mut(),
                len,
                prot,
                MapFlags::SHARED,
                fd,
                span.offset,
            )
        };
        Self::new(base.map_err(errno)?, len)
    }

    /// Maps zeroed memory of `len` bytes, whole pages, of the size that `flags` ask for.
    pub(super) fn anonymous(len: usize, flags: MapFlags) -> Result<Self, Errno> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // Shared, so that a fork does not leave the parent with copies of what the device writes.
        let flags = MapFlags::SHARED | flags;
        // SAFETY: the kernel chooses where, so that nothing that is in use is touched.
        let base = unsafe { mmap_anonymous(core::ptr::null_mut(), len, prot, flags) };
        Self::new(base.map_err(errno)?, len)
    }

    fn new(base: *mut c_void, len: usize) -> Result<Self, Errno> {
        let base = NonNull::new(base.cast()).ok_or(Errno::ENOMEM)?;
        Ok(Self { base, len })
    }

    /// Brings all pages into memory and keeps them there.
    pub(super) fn lock(&self) -> Result<(), Errno> {
        // SAFETY: the pages are the value's own; they stay locked until they are unmapped.
        unsafe { mlock(self.base.as_ptr().cast(), self.len) }.map_err(errno)
    }

    /// Keeps the `len` bytes at `at`, whole pages; the others are unmapped.
    pub(super) fn cut(self, at: usize, len: usize) -> Result<Self, Errno> {
        let end = at.checked_add(len).filter(|end| *end <= self.len);
        let behind = end.and_then(|end| self.len.checked_sub(end));
        let (Some(end), Some(behind)) = (end, behind) else {
            return Err(Errno::EINVAL);
        };
        let whole = ManuallyDrop::new(self);
        let part = |at, len| {
            // SAFETY: the offset is in bounds, or one past the end.
            let base = unsafe { whole.base.add(at) };
            Self { base, len }
        };
        // Each part has an owner of its own: those that nobody keeps are unmapped.
        let parts = [part(0, at), part(at, len), part(end, behind)];
        let [before, kept, after] = parts;
        drop((before, after));
        Ok(kept)
    }

    /// How many bytes are mapped.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The address of the first byte.
    pub(super) const fn base(&self) -> NonNull<u8> {
        self.base
    }
}

/// A length in whole pages.
pub(super) fn whole(len: usize) -> Result<usize, Errno> {
    match len.checked_next_multiple_of(rustix::param::page_size()) {
        Some(whole) if whole > 0 => Ok(whole),
        _ => Err(Errno::EINVAL),
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if self.len == 0 {
            return;
        }
        // SAFETY: the pages were mapped by the constructor, and belong to the value alone.
        // Nothing can be done where it fails.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
    }
}

// SAFETY: the pages have no thread of their own.
unsafe impl Send for Pages {}

// SAFETY: through a shared reference nothing is done with what is in the pages.
unsafe impl Sync for Pages {}
