//! Pages of the address space.

use core::ffi::c_void;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use rustix::fd::AsFd;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use vfio_core::sys::{Errno, Protection, Span};

use super::errno;

/// How far up `mmap(2)` takes the binary logarithm of the size of huge pages (`MAP_HUGE_SHIFT`,
/// asm-generic/hugetlb_encode.h).
const HUGE_SHIFT: u32 = 26;

/// Pages of the address space, unmapped on drop.
#[derive(Debug)]
pub(super) struct Pages {
    base: NonNull<u8>,
    /// Whole pages, in bytes: of huge pages whole ones, since others can't be unmapped. 0 for what
    /// a cut leaves nothing of.
    len: usize,
}

impl Pages {
    /// Maps a stretch of a file, and the rest of the page in which it ends.
    pub(super) fn of_file(
        fd: &impl AsFd,
        span: Span,
        protection: Protection,
    ) -> Result<Self, Errno> {
        let len = whole(span.len, rustix::param::page_size())?;
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

    /// Maps zeroed memory of whole ordinary pages.
    pub(super) fn ordinary(len: usize) -> Result<Self, Errno> {
        Self::anonymous(whole(len, rustix::param::page_size())?, MapFlags::empty())
    }

    /// Maps zeroed memory of whole huge pages of `size` bytes, which are taken at once: a process
    /// that finds one missing later is killed.
    pub(super) fn huge(len: usize, size: usize) -> Result<Self, Errno> {
        if !size.is_power_of_two() || size <= rustix::param::page_size() {
            return Err(Errno::EINVAL);
        }
        let flags = MapFlags::from_bits_retain(size.trailing_zeros() << HUGE_SHIFT);
        let pages = Self::anonymous(whole(len, size)?, MapFlags::HUGETLB | flags)?;
        pages.populate()?;
        Ok(pages)
    }

    fn anonymous(len: usize, flags: MapFlags) -> Result<Self, Errno> {
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

    /// Brings all pages into memory. Linux before 5.14 can't, and brings each when it is reached.
    fn populate(&self) -> Result<(), Errno> {
        let base = self.base.as_ptr().cast();
        // SAFETY: the pages are the value's own; what is in them stays as it is.
        match unsafe { madvise(base, self.len, Advice::LinuxPopulateWrite) } {
            Ok(()) | Err(rustix::io::Errno::INVAL) => Ok(()),
            // There are free pages, but not for this control group.
            Err(rustix::io::Errno::FAULT) => Err(Errno::ENOMEM),
            Err(error) => Err(errno(error)),
        }
    }

    /// Keeps the `len` bytes at `at`; the pages around them are freed and unmapped. Of huge pages,
    /// all of these are whole ones.
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
        // Each part has an owner of its own: those that nobody keeps are freed and unmapped.
        let parts = [part(0, at), part(at, len), part(end, behind)];
        let [before, kept, after] = parts;
        before.give_back();
        after.give_back();
        drop((before, after));
        Ok(kept)
    }

    /// Frees the pages. Unmapping them is not enough where a part of the memory stays: the kernel
    /// has it in a file, which keeps all of it until it is closed.
    fn give_back(&self) {
        if self.len == 0 {
            return;
        }
        // SAFETY: the pages are the value's own, and go with it. Where it fails they are freed
        // later, with the rest.
        let _ = unsafe { madvise(self.base.as_ptr().cast(), self.len, Advice::LinuxRemove) };
    }

    /// Returns how many bytes are mapped.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Returns the address of the first byte.
    pub(super) const fn base(&self) -> NonNull<u8> {
        self.base
    }
}

/// Returns a length in whole pages of `page` bytes.
pub(super) fn whole(len: usize, page: usize) -> Result<usize, Errno> {
    match len.checked_next_multiple_of(page) {
        Some(whole) if whole > 0 => Ok(whole),
        _ => Err(Errno::EINVAL),
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if self.len == 0 {
            return;
        }
        // SAFETY: the pages were mapped by the constructor, and belong to the value alone; of
        // what is mapped for a device, who mapped it promised to keep the value. Nothing can be
        // done where it fails.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
    }
}

// SAFETY: the pages have no thread of their own.
unsafe impl Send for Pages {}

// SAFETY: through a shared reference nothing is done with what is in the pages.
unsafe impl Sync for Pages {}
