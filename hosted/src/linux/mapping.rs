//! Memory of devices and for devices, in the address space of the process.

use core::convert::Infallible;
use core::ffi::c_void;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use rustix::fd::OwnedFd;
use rustix::mm::{MapFlags, ProtFlags, mlock, mmap, mmap_anonymous, munmap};
use vfio_core::mmio::{Access, Mapped, Origin, Width};
use vfio_core::sys::{Errno, Protection, Span};

use super::errno;

/// The huge pages that are tried, the largest first: size in bytes, and how they are asked for.
/// Where a kernel has none of a size, it says so.
pub(super) const HUGE: [(usize, MapFlags); 2] =
    [(1 << 30, MapFlags::HUGE_1GB), (2 << 20, MapFlags::HUGE_2MB)];

/// Pages of the address space, and how much of them is in reach.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    /// Whole pages, in bytes.
    mapped: usize,
    /// In reach, in bytes.
    len: usize,
}

impl Mapping {
    /// Maps a stretch of a file.
    pub(super) fn of_file(fd: &OwnedFd, span: Span, protection: Protection) -> Result<Self, Errno> {
        let mapped = pages(span.len)?;
        let mut prot = ProtFlags::empty();
        prot.set(ProtFlags::READ, protection.read);
        prot.set(ProtFlags::WRITE, protection.write);
        // SAFETY: the kernel chooses where, so that nothing that is in use is touched.
        let base = unsafe {
            mmap(
                core::ptr::null_mut(),
                mapped,
                prot,
                MapFlags::SHARED,
                fd,
                span.offset,
            )
        };
        Self::new(base.map_err(errno)?, mapped, span.len)
    }

    /// Zeroed memory of whole pages, of huge ones where they fit and there are any.
    pub(super) fn anonymous(len: usize) -> Result<Self, Errno> {
        let mapped = pages(len)?;
        let huge = HUGE.into_iter().find_map(|(size, flags)| {
            let fits = mapped.is_multiple_of(size);
            fits.then(|| Self::huge(mapped, mapped, flags).ok())?
        });
        match huge {
            Some(huge) => Ok(huge),
            None => Self::map(mapped, mapped, MapFlags::empty()),
        }
    }

    /// Zeroed memory of `mapped` bytes in huge pages of the size that `flags` ask for, of which
    /// `len` are in reach.
    pub(super) fn huge(mapped: usize, len: usize, flags: MapFlags) -> Result<Self, Errno> {
        Self::map(mapped, len, MapFlags::HUGETLB | flags)
    }

    fn map(mapped: usize, len: usize, flags: MapFlags) -> Result<Self, Errno> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // Shared, so that a fork does not leave the parent with copies of what the device writes.
        let flags = MapFlags::SHARED | flags;
        // SAFETY: the kernel chooses where, so that nothing that is in use is touched.
        let base = unsafe { mmap_anonymous(core::ptr::null_mut(), mapped, prot, flags) };
        Self::new(base.map_err(errno)?, mapped, len)
    }

    /// Brings all pages into memory and keeps them there.
    pub(super) fn lock(&self) -> Result<(), Errno> {
        // SAFETY: the pages are the value's own; they stay locked until they are unmapped.
        unsafe { mlock(self.base.as_ptr().cast(), self.mapped) }.map_err(errno)
    }

    /// The `len` bytes at `at`, whole pages; the others are unmapped.
    pub(super) fn cut(self, at: usize, len: usize) -> Result<Self, Errno> {
        let end = at.checked_add(len).filter(|end| *end <= self.mapped);
        let behind = end.and_then(|end| self.mapped.checked_sub(end));
        let (Some(end), Some(behind)) = (end, behind) else {
            return Err(Errno::EINVAL);
        };
        let whole = ManuallyDrop::new(self);
        let part = |at, len| {
            // SAFETY: the offset is in bounds, or one past the end.
            let base = unsafe { whole.base.add(at) };
            Self {
                base,
                mapped: len,
                len,
            }
        };
        // Each part has an owner of its own: those that nobody keeps are unmapped.
        let parts = [part(0, at), part(at, len), part(end, behind)];
        let [before, kept, after] = parts;
        drop((before, after));
        Ok(kept)
    }

    fn new(base: *mut c_void, mapped: usize, len: usize) -> Result<Self, Errno> {
        let base = NonNull::new(base.cast()).ok_or(Errno::ENOMEM)?;
        Ok(Self { base, mapped, len })
    }

    /// How many bytes are mapped.
    pub(super) const fn pages(&self) -> usize {
        self.mapped
    }

    /// The address of the first byte.
    pub(super) fn address(&self) -> NonNull<u8> {
        self.base
    }

    /// The memory, for as long as it is mapped.
    #[inline]
    fn memory(&self) -> Mapped<'_> {
        // SAFETY: `len` bytes at `base` are mapped until the value is dropped, on a page
        // boundary; they belong to the value alone, and no reference to them is ever made.
        unsafe { Mapped::new(self.base, self.len) }
    }
}

/// A length in whole pages.
fn pages(len: usize) -> Result<usize, Errno> {
    match len.checked_next_multiple_of(rustix::param::page_size()) {
        Some(mapped) if mapped > 0 => Ok(mapped),
        _ => Err(Errno::EINVAL),
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.mapped == 0 {
            return;
        }
        // SAFETY: the pages were mapped by the constructor, and belong to the value alone.
        // Nothing can be done where it fails.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.mapped) };
    }
}

// SAFETY: the pages have no thread of their own.
unsafe impl Send for Mapping {}

// SAFETY: what is done through a shared reference is what `Mapped` does, which may be shared.
unsafe impl Sync for Mapping {}

// SAFETY: every access is one of `Mapped`, within its length.
unsafe impl Access for Mapping {
    type Error = Infallible;

    #[inline]
    fn len(&self) -> usize {
        self.len
    }

    #[inline]
    unsafe fn load<T: Width>(&self, offset: usize) -> Result<T, Infallible> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.memory().load(offset) }
    }

    #[inline]
    unsafe fn store<T: Width>(&self, offset: usize, value: T) -> Result<(), Infallible> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.memory().store(offset, value) }
    }

    #[inline]
    fn origin(&self, offset: usize) -> Origin {
        self.memory().origin(offset)
    }

    #[inline]
    unsafe fn load_at<T: Width>(&self, origin: Origin, offset: usize) -> Result<T, Self::Error> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.memory().load_at(origin, offset) }
    }

    #[inline]
    unsafe fn store_at<T: Width>(
        &self,
        origin: Origin,
        offset: usize,
        value: T,
    ) -> Result<(), Self::Error> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.memory().store_at(origin, offset, value) }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use vfio_core::mmio::Window;

    #[test]
    fn memory_is_zeroed_and_whole_pages() {
        let memory = Mapping::anonymous(5000).unwrap();
        assert_eq!(memory.len(), 8192);
        let mut window: Window<_> = Window::new(memory);
        assert_eq!(window.read::<u64>(8184), Ok(0));
        window.write::<u32>(4, 7).unwrap();
        assert_eq!(window.read::<u64>(0), Ok(7 << 32));
        assert!(window.read::<u64>(8192).is_err());
    }

    #[test]
    fn no_memory_is_no_mapping() {
        assert_eq!(Mapping::anonymous(0).unwrap_err(), Errno::EINVAL);
        assert_eq!(Mapping::anonymous(usize::MAX).unwrap_err(), Errno::EINVAL);
    }

    #[test]
    fn of_a_file_no_more_than_the_stretch_is_in_reach() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [[1; 4096], [2; 4096]].concat()).unwrap();
        let fd: OwnedFd = file.reopen().unwrap().into();
        let span = Span {
            offset: 4096,
            len: 256,
        };
        let protection = Protection {
            read: true,
            write: true,
        };
        let mut window: Window<_> = Window::new(Mapping::of_file(&fd, span, protection).unwrap());
        assert_eq!(window.read::<u16>(254), Ok(0x0202));
        assert!(window.read::<u16>(256).is_err());
        let odd = Span {
            offset: 1,
            len: 256,
        };
        assert_eq!(
            Mapping::of_file(&fd, odd, protection).unwrap_err(),
            Errno::EINVAL
        );
    }
}
