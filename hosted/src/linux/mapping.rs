//! Stretches of devices in the address space of the process.

use core::convert::Infallible;
use core::ptr::NonNull;

use rustix::fd::AsFd;
use vfio_core::mmio::{Forward, Mapped};
use vfio_core::sys::{Errno, Protection, Span};

use super::pages::Pages;

/// A stretch of a device's file; unmapped on drop.
#[derive(Debug)]
pub struct Mapping {
    registers: Mapped<'static>,
    pages: Pages,
}

impl Mapping {
    /// Maps a stretch of a file. The page in which it ends is mapped whole, and no more than the
    /// stretch is in reach.
    pub(crate) fn new(fd: &impl AsFd, span: Span, protection: Protection) -> Result<Self, Errno> {
        let pages = Pages::of_file(fd, span, protection)?;
        // SAFETY: the pages are the file's, and so in no Rust allocation. They are on a page
        // boundary, and mapped for what is permitted until the value is dropped, and the access
        // with it. Where the device does not answer there, or a file was cut short, an access
        // ends the process, and changes nothing.
        let registers = unsafe { Mapped::new(pages.base(), span.len, protection) };
        Ok(Self { registers, pages })
    }

    /// Returns the address of the first byte.
    pub(super) const fn base(&self) -> NonNull<u8> {
        self.pages.base()
    }
}

// SAFETY: what reaches the registers is never changed for another.
unsafe impl Forward for Mapping {
    type Target = Mapped<'static>;
    type Error = Infallible;

    #[inline]
    fn target(&self) -> &Mapped<'static> {
        &self.registers
    }
}

#[cfg(all(test, feature = "std"))]
pub(super) mod tests {
    use super::*;
    use vfio_core::mmio::{CanRead, CanReadWrite, Window};

    #[test]
    fn of_a_file_no_more_than_the_stretch_is_in_reach() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [[1; 4096], [2; 4096]].concat()).unwrap();
        let fd = file.reopen().unwrap();
        let span = Span {
            offset: 4096,
            len: 256,
        };
        let mapping = Mapping::new(&fd, span, Protection::BOTH).unwrap();
        let mut window: Window<_> = Window::with_permission(mapping).unwrap();
        assert_eq!(window.read::<u16>(254), Ok(0x0202));
        assert!(window.read::<u16>(256).is_err());
        let odd = Span {
            offset: 1,
            len: 256,
        };
        let refused = Mapping::new(&fd, odd, Protection::BOTH);
        assert_eq!(refused.unwrap_err(), Errno::EINVAL);
    }

    #[test]
    fn what_is_mapped_to_be_read_is_never_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [7; 4096]).unwrap();
        let fd: rustix::fd::OwnedFd = file.reopen().unwrap().into();
        let span = Span {
            offset: 0,
            len: 4096,
        };
        let read = Protection {
            read: true,
            write: false,
        };
        let mapping = Mapping::new(&fd, span, read).unwrap();
        let refused = Window::<_, CanReadWrite>::with_permission(&mapping);
        assert_eq!(refused.unwrap_err().permitted, read);
        let mut window = Window::<_, CanRead>::with_permission(mapping).unwrap();
        assert_eq!(window.read::<u8>(4095), Ok(7));
    }
}
