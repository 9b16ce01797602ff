//! Memory that a driver and the models share.

use core::ptr::NonNull;
use std::fmt;
use std::sync::Arc;

use vfio_core::sys::Errno;

use super::space::{Area, SharedSpace, last_of};
use super::supply::{HUGE_PAGE, Share, Supply};
use crate::lock::lock;
use crate::sim::pages::{PAGE, Pages, whole};

/// Memory of whole pages, for DMA: zeroed, or the user's own.
///
/// Dropping it takes it away from the driver. What is mapped of it stays in reach of the device,
/// unlike on Linux.
pub struct DmaMemory {
    pages: Pages,
    /// What the host gave; given back on drop.
    _share: Option<Share>,
    /// Where devices find it that no IOMMU confines; given back on drop.
    _physical: Option<Physical>,
}

/// A place in physical memory, given back on drop.
struct Physical {
    memory: SharedSpace,
    address: u64,
}

impl DmaMemory {
    fn zeroed(len: usize) -> Result<Self, Errno> {
        Pages::zeroed(len).map(Self::new)
    }

    /// Allocates zeroed memory of at least `len` bytes, which the host gives.
    pub(in crate::sim) fn ordinary(len: usize, supply: &Arc<Supply>) -> Result<Self, Errno> {
        Ok(Self {
            _share: Some(supply.take(0)?),
            ..Self::zeroed(len)?
        })
    }

    /// Allocates zeroed memory of whole huge pages of `size` bytes, which the host gives.
    pub(in crate::sim) fn huge(
        len: usize,
        size: usize,
        supply: &Arc<Supply>,
    ) -> Result<Self, Errno> {
        if size != HUGE_PAGE {
            return Err(Errno::EINVAL);
        }
        let len = whole(len, size)?;
        Ok(Self {
            _share: Some(supply.take(len / HUGE_PAGE)?),
            ..Self::zeroed(len)?
        })
    }

    /// Takes memory that is the user's.
    ///
    /// # Safety
    /// As for [`Sys::foreign_memory`](vfio_core::sys::Sys::foreign_memory).
    #[expect(unsafe_code, reason = "the memory is the caller's")]
    pub(in crate::sim) unsafe fn foreign(base: NonNull<u8>, len: usize) -> Result<Self, Errno> {
        // SAFETY: the caller's promise is passed on.
        let pages = unsafe { Pages::foreign(base, len) }?;
        Ok(Self::new(pages))
    }

    const fn new(pages: Pages) -> Self {
        Self {
            pages,
            _share: None,
            _physical: None,
        }
    }

    /// Returns memory of at least `len` bytes in `memory`, with no byte above `highest`. And its
    /// address.
    pub(in crate::sim) fn physical(
        memory: &SharedSpace,
        len: usize,
        highest: u64,
    ) -> Result<(Self, u64), Errno> {
        let this = Self::zeroed(len)?;
        let len = u64::try_from(this.pages.len()).map_err(|_| Errno::ENOMEM)?;
        let mut space = lock(memory);
        let page = u64::try_from(PAGE).map_err(|_| Errno::ENOMEM)?;
        let address = space.find(len, page);
        let address = address.ok_or(Errno::ENOMEM)?;
        let last = last_of(address, len).ok_or(Errno::ENOMEM)?;
        if last > highest {
            return Err(Errno::ERANGE);
        }
        let area = Area {
            last,
            memory: this.pages.clone(),
            offset: 0,
            readable: true,
            writable: true,
        };
        space.insert(address, area);
        drop(space);
        let physical = Physical {
            memory: Arc::clone(memory),
            address,
        };
        let _physical = Some(physical);
        Ok((Self { _physical, ..this }, address))
    }

    pub(in crate::sim) const fn pages(&self) -> &Pages {
        &self.pages
    }
}

impl Drop for Physical {
    fn drop(&mut self) {
        lock(&self.memory).remove(self.address);
    }
}

impl fmt::Debug for DmaMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DmaMemory")
            .field("len", &self.pages.len())
            .finish_non_exhaustive()
    }
}
