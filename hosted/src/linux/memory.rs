//! Memory for devices, in the address space of the process.

use core::convert::Infallible;
use core::ptr::NonNull;

use rustix::mm::MapFlags;
use vfio_core::mmio::{Addressable, Forward, SharedMemory, Unrestricted};
use vfio_core::sys::Errno;

use super::pages::{Pages, whole};

/// The huge pages that are tried, the largest first: size in bytes, and how they are asked for.
/// Where a kernel has none of a size, it says so.
pub(super) const HUGE: [(usize, MapFlags); 2] =
    [(1 << 30, MapFlags::HUGE_1GB), (2 << 20, MapFlags::HUGE_2MB)];

/// Memory of the process that a device can be given; unmapped on drop.
#[derive(Debug)]
pub struct Memory {
    bytes: SharedMemory<'static>,
    pages: Pages,
}

impl Memory {
    /// Zeroed memory of whole pages, of huge ones where they fit and there are any.
    pub(super) fn new(len: usize) -> Result<Self, Errno> {
        let len = whole(len)?;
        let huge = HUGE.into_iter().find_map(|(size, flags)| {
            let fits = len.is_multiple_of(size);
            fits.then(|| Self::huge(len, len, flags).ok())?
        });
        match huge {
            Some(huge) => Ok(huge),
            None => Self::owning(Pages::anonymous(len, MapFlags::empty())?, len),
        }
    }

    /// Zeroed memory of `mapped` bytes in huge pages of the size that `flags` ask for, of which
    /// `len` are in reach.
    pub(super) fn huge(mapped: usize, len: usize, flags: MapFlags) -> Result<Self, Errno> {
        Self::owning(Pages::anonymous(mapped, MapFlags::HUGETLB | flags)?, len)
    }

    /// Takes over pages of memory, of which `len` bytes are in reach.
    fn owning(pages: Pages, len: usize) -> Result<Self, Errno> {
        if len > pages.len() {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the pages, which have so many bytes, are mapped to be read and written, on a
        // page boundary, until the value is dropped, and the access with it. They belong to the
        // value alone, and no reference to them is ever made.
        let bytes = unsafe { SharedMemory::new(pages.base(), len) };
        Ok(Self { bytes, pages })
    }

    /// Brings all pages into memory and keeps them there.
    pub(super) fn lock(&self) -> Result<(), Errno> {
        self.pages.lock()
    }

    /// The `len` bytes at `at`, whole pages; the others are unmapped.
    pub(super) fn cut(self, at: usize, len: usize) -> Result<Self, Errno> {
        let Self { pages, .. } = self;
        Self::owning(pages.cut(at, len)?, len)
    }

    /// How many bytes are mapped.
    pub(super) const fn pages(&self) -> usize {
        self.pages.len()
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

// SAFETY: the address is that of the pages, which stay mapped until the value is dropped.
unsafe impl Addressable for Memory {
    #[inline]
    fn as_ptr(&self) -> NonNull<u8> {
        self.pages.base()
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use vfio_core::mmio::{Access as _, Window};

    #[test]
    fn memory_is_zeroed_and_whole_pages() {
        let memory = Memory::new(5000).unwrap();
        assert_eq!(memory.len(), 8192);
        let mut window = Window::new(memory);
        assert_eq!(window.read::<u64>(8184), Ok(0));
        window.write::<u32>(4, 7).unwrap();
        assert_eq!(window.read::<u64>(0), Ok(7 << 32));
        assert!(window.read::<u64>(8192).is_err());
    }

    #[test]
    fn no_memory_is_no_mapping() {
        assert_eq!(Memory::new(0).unwrap_err(), Errno::EINVAL);
        assert_eq!(Memory::new(usize::MAX).unwrap_err(), Errno::EINVAL);
    }

    #[test]
    fn threads_may_write_and_read_the_same_memory() {
        let window = Window::new(Memory::new(4096).unwrap());
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
