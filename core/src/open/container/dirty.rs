//! Which memory devices have written, as the IOMMU of a container tracks it.

#![forbid(unsafe_code)]

use zerocopy::{FromBytes, IntoBytes};

use super::Container;
use crate::sys::{
    self, DIRTY_BITMAP_LEN, Errno, Exchange, ExchangeRequest, PageRange, Sys, UNMAP_DIRTY_LEN,
};
use crate::wire::abi::{DirtyPagesFlags, IommuType1DirtyBitmap, IommuType1DmaUnmap};

impl<S: Sys> Container<S> {
    /// Starts to track dirty pages; no error where they are tracked already.
    ///
    /// # Errors
    /// What the kernel returns: `EACCES` with type1 of version 1, `ENOTTY` where the container
    /// does not track
    /// ([`IommuCap::Migration`](crate::wire::caps::IommuCap::Migration) is missing then).
    pub fn start_dirty_tracking(&self) -> Result<(), Errno> {
        self.send_dirty(DirtyPagesFlags::START)
    }

    /// Stops to track dirty pages, and forgets them.
    ///
    /// # Errors
    /// What the kernel returns.
    pub fn stop_dirty_tracking(&self) -> Result<(), Errno> {
        self.send_dirty(DirtyPagesFlags::STOP)
    }

    /// Fills `bitmap` with the pages that were written since it was last asked.
    ///
    /// # Errors
    /// What the kernel returns: `EINVAL` where nothing is tracked, where a mapping is only in part
    /// within `pages`, and for another size of page than the smallest of the IOMMU. `EINVAL` as
    /// well for a `bitmap` that is too short.
    pub fn dirty_pages(&self, pages: PageRange, bitmap: &mut [u64]) -> Result<(), Errno> {
        let mut buffer = [0; DIRTY_BITMAP_LEN];
        let exchange = Exchange::dirty_bitmap(&mut buffer, pages, bitmap)?;
        sys::send(self.sys(), self.fd(), exchange)
    }

    /// Unmaps as [`Container::unmap`] does while dirty pages are tracked. Fills `bitmap` with the
    /// pages that were written since it was last asked, and returns how many bytes were unmapped.
    ///
    /// # Errors
    /// As [`Container::dirty_pages`]; nothing is unmapped then.
    pub fn unmap_dirty(&self, pages: PageRange, bitmap: &mut [u64]) -> Result<u64, Errno> {
        let mut buffer = [0; UNMAP_DIRTY_LEN];
        let exchange = Exchange::unmap_dirty(&mut buffer, pages, bitmap)?;
        sys::send(self.sys(), self.fd(), exchange)?;
        IommuType1DmaUnmap::read_from_prefix(&buffer)
            .map(|(unmapped, _)| unmapped.size)
            .map_err(|_| Errno::EINVAL)
    }

    fn send_dirty(&self, flags: DirtyPagesFlags) -> Result<(), Errno> {
        let mut dirty = IommuType1DirtyBitmap {
            flags,
            ..Default::default()
        };
        let exchange = Exchange::new(ExchangeRequest::DirtyPages, dirty.as_mut_bytes())?;
        sys::send(self.sys(), self.fd(), exchange)
    }
}
