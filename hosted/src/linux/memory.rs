//! Memory for devices, in the address space of the process.

use core::convert::Infallible;
use core::ptr::NonNull;

#[cfg(feature = "std")]
use rustix::fd::AsFd;
use vfio_core::mmio::{Addressable, Forward, SharedMemory, Unrestricted};
use vfio_core::sys::Errno;
#[cfg(feature = "std")]
use vfio_core::sys::{Protection, Span};

use super::pages::Pages;

/// Memory of the process that a device can be given; unmapped on drop.
#[derive(Debug)]
pub struct Memory {
    bytes: SharedMemory<'static>,
    base: NonNull<u8>,
    /// None where the memory is foreign: it stays the caller's.
    pages: Option<Pages>,
}

impl Memory {
    /// Allocates zeroed memory of whole ordinary pages.
    pub(super) fn ordinary(len: usize) -> Result<Self, Errno> {
        let pages = Pages::ordinary(len)?;
        let len = pages.len();
        Self::owning(pages, len)
    }

    /// Allocates zeroed memory of whole huge pages of `size` bytes.
    pub(super) fn huge(len: usize, size: usize) -> Result<Self, Errno> {
        let pages = Pages::huge(len, size)?;
        let len = pages.len();
        Self::owning(pages, len)
    }

    /// Takes memory that is the caller's, and stays so.
    ///
    /// # Safety
    /// As for [`Sys::foreign_memory`](vfio_core::sys::Sys::foreign_memory).
    pub(super) unsafe fn foreign(base: NonNull<u8>, len: usize) -> Result<Self, Errno> {
        let page = rustix::param::page_size();
        if len == 0 || !len.is_multiple_of(page) || !base.as_ptr().addr().is_multiple_of(page) {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the bytes can be read and written for as long as the value lives, and nobody
        // forms a reference to them meanwhile, as the caller promises.
        let bytes = unsafe { SharedMemory::new(base, len) };
        Ok(Self {
            bytes,
            base,
            pages: None,
        })
    }

    /// Maps a stretch of a file as memory that others have as well. Where the file is cut short, an access ends the
    /// process.
    #[cfg(feature = "std")]
    pub(crate) fn of_file(fd: &impl AsFd, span: Span) -> Result<Self, Errno> {
        let pages = Pages::of_file(fd, span, Protection::BOTH)?;
        Self::owning(pages, span.len)
    }

    /// Takes over pages of memory, whose first `len` bytes are in reach.
    fn owning(pages: Pages, len: usize) -> Result<Self, Errno> {
        if len > pages.len() {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the pages, which have so many bytes, are mapped to be read and written, on a
        // page boundary, until the value is dropped, and the access with it. They belong to the
        // value alone, and no reference to them is ever made. Who else has the file may write to them
        // at any time, as a device does.
        let bytes = unsafe { SharedMemory::new(pages.base(), len) };
        Ok(Self {
            bytes,
            base: pages.base(),
            pages: Some(pages),
        })
    }

    /// Creates the `len` bytes at `at`, whole pages, of which `reach` are in reach. The others are
    /// freed.
    pub(super) fn cut(self, at: usize, len: usize, reach: usize) -> Result<Self, Errno> {
        let pages = self.pages.ok_or(Errno::EINVAL)?;
        Self::owning(pages.cut(at, len)?, reach)
    }
}

// SAFETY: the pages have no thread of their own, and the access to them may be sent.
unsafe impl Send for Memory {}

// SAFETY: what is done through a shared reference is what `SharedMemory` does.
unsafe impl Sync for Memory {}

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

// SAFETY: the address is that of the memory, which stays until the value is dropped.
unsafe impl Addressable for Memory {
    #[inline]
    fn as_ptr(&self) -> NonNull<u8> {
        self.base
    }
}

#[cfg(all(test, feature = "std"))]
pub(super) mod tests {
    use super::*;
    use std::format;
    use std::fs;
    use std::sync::{Mutex, MutexGuard, PoisonError};
    use vfio_core::mmio::{Access as _, Window};

    const HUGE: usize = 2 << 20;

    /// Returns how many huge pages of 2 MiB nobody has or may still take. The tests need none.
    pub(in super::super) fn free() -> usize {
        let number = |name: &str| -> usize {
            let path = format!("/sys/kernel/mm/hugepages/hugepages-2048kB/{name}");
            let number = fs::read_to_string(path).unwrap_or_default();
            number.trim().parse().unwrap_or(0)
        };
        number("free_hugepages") - number("resv_hugepages")
    }

    /// Keeps the other tests from taking huge pages meanwhile.
    pub(in super::super) fn pool() -> MutexGuard<'static, ()> {
        static POOL: Mutex<()> = Mutex::new(());
        POOL.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[test]
    fn memory_is_zeroed_and_whole_pages() {
        let memory = Memory::ordinary(5000).unwrap();
        assert_eq!(memory.len(), 8192);
        let mut window = Window::new(memory);
        assert_eq!(window.read::<u64>(8184), Ok(0));
        window.write::<u32>(4, 7).unwrap();
        assert_eq!(window.read::<u64>(0), Ok(7 << 32));
        assert!(window.read::<u64>(8192).is_err());
    }

    #[test]
    fn no_memory_is_no_mapping() {
        assert_eq!(Memory::ordinary(0).unwrap_err(), Errno::EINVAL);
        assert_eq!(Memory::ordinary(usize::MAX).unwrap_err(), Errno::EINVAL);
    }

    #[test]
    fn ordinary_memory_takes_no_huge_page() {
        let _pool = pool();
        let reserved = free();
        let memory = Memory::ordinary(HUGE).unwrap();
        Window::new(&memory).write(0, 1_u8).unwrap();
        assert_eq!(free(), reserved);
    }

    #[test]
    fn huge_pages_are_whole_and_go_back() {
        let _pool = pool();
        let reserved = free();
        match Memory::huge(HUGE + 1, HUGE) {
            Ok(memory) => {
                assert_eq!(memory.len(), 2 * HUGE);
                assert_eq!(reserved - free(), 2);
                let part = memory.cut(HUGE, HUGE, 4096).unwrap();
                assert_eq!((part.len(), reserved - free()), (4096, 1));
                drop(part);
                assert_eq!(free(), reserved);
            }
            Err(errno) => {
                assert_eq!(errno, Errno::ENOMEM);
                assert!(reserved < 2);
            }
        }
        for size in [0, 4096, 3 << 20] {
            assert_eq!(Memory::huge(1, size).err(), Some(Errno::EINVAL));
        }
    }

    #[test]
    fn foreign_memory_is_the_callers_and_is_not_unmapped() {
        let owner = Memory::ordinary(8192).unwrap();
        let base = owner.as_ptr();
        // SAFETY: the owner outlives it, and makes no reference to it.
        let mut foreign = Window::new(unsafe { Memory::foreign(base, 4096) }.unwrap());
        foreign.write(8, 7_u64).unwrap();
        assert!(foreign.write(4096, 7_u64).is_err());
        drop(foreign);
        assert_eq!(Window::new(&owner).read::<u64>(8), Ok(7));
        for (base, len) in [(base, 0), (base, 5000), (base.map_addr(|at| at | 8), 4096)] {
            // SAFETY: it lies in the owner's memory, which outlives it.
            let refused = unsafe { Memory::foreign(base, len) };
            assert_eq!(refused.err(), Some(Errno::EINVAL));
        }
    }

    #[test]
    fn threads_may_write_and_read_the_same_memory() {
        let window = Window::new(Memory::ordinary(4096).unwrap());
        let (mut writer, mut reader) = (window.share(), window.share());
        let last = std::thread::scope(|scope| {
            scope.spawn(move || (0..10_000_u64).try_for_each(|n| writer.write(0, n)));
            let read = scope.spawn(move || {
                let mut last = 0;
                for _ in 0..10_000 {
                    let next: u64 = reader.read(0).unwrap();
                    assert!(next >= last, "{next} came after {last}");
                    last = next;
                }
                last
            });
            read.join().unwrap()
        });
        assert!(last < 10_000);
    }
}
