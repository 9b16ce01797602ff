//! The I/O address spaces of an iommufd.

use std::collections::BTreeMap;
use std::ops::Range;
use std::vec;
use std::vec::Vec;

use vfio_core::sys::Errno;
use vfio_core::wire::abi::IovaRange;

use crate::lock::lock;
use crate::model::{EVERYTHING, Iommu};
use crate::sim::memory::dma_memory::DmaMemory;
use crate::sim::memory::space::{Area, SharedSpace, Space, intersection, last_of, length};

/// Where the memory of the process is taken to be: only its alignment matters.
const USER_ADDRESS: u64 = 0x7f00_0000_0000;

/// `EADDRINUSE`: what is mapped already does not suit a device.
const EADDRINUSE: Errno = Errno(98);

/// An I/O address space. Before it has a device mappings need no alignment.
#[derive(Default)]
pub(super) struct Ioas {
    space: SharedSpace,
    pub(super) page_table: Option<u32>,
    /// The devices by their ids, and what their IOMMUs permit.
    devices: BTreeMap<u32, Limits>,
    /// Whether it is one of type1, version 1: mappings can be cut.
    pub(super) cuts: bool,
}

struct Limits {
    ranges: Vec<IovaRange>,
    page: u64,
}

impl Ioas {
    /// Returns the space that its devices reach.
    pub(super) const fn space(&self) -> &SharedSpace {
        &self.space
    }

    /// Attaches a device behind an IOMMU, which what is mapped must suit.
    pub(super) fn attach(&mut self, device: u32, iommu: &Iommu) -> Result<(), Errno> {
        let limits = Limits {
            ranges: iommu.iova_ranges(),
            page: iommu.page(),
        };
        let mut space = lock(&self.space);
        let allowed = intersection(&space.allowed, &limits.ranges);
        let page = space.page.max(limits.page);
        if !space.fits(&allowed) || !space.is_aligned(page) {
            return Err(EADDRINUSE);
        }
        space.allowed = allowed;
        space.page = page;
        drop(space);
        self.devices.insert(device, limits);
        Ok(())
    }

    /// Detaches a device; the page table, where it was the last one.
    pub(super) fn detach(&mut self, device: u32) -> Option<u32> {
        self.devices.remove(&device);
        let limits = || self.devices.values();
        let mut space = lock(&self.space);
        space.allowed = limits().fold(vec![EVERYTHING], |allowed, limits| {
            intersection(&allowed, &limits.ranges)
        });
        space.page = limits().map(|limits| limits.page).max().unwrap_or(1);
        drop(space);
        if self.devices.is_empty() {
            self.page_table.take()
        } else {
            None
        }
    }

    /// Maps memory at an address, or at one that it finds.
    pub(super) fn map(
        &self,
        iova: Option<u64>,
        memory: &DmaMemory,
        range: Range<usize>,
        readable: bool,
        writable: bool,
    ) -> Result<u64, Errno> {
        let length = length(&range)?;
        let start = u64::try_from(range.start).map_err(|_| Errno::EINVAL)?;
        let mut space = lock(&self.space);
        let bits = space.page.wrapping_sub(1);
        if length == 0 || length & bits != 0 {
            return Err(Errno::EINVAL);
        }
        let iova = match iova {
            Some(iova) => {
                check_free(&space, iova, length)?;
                iova
            }
            None => find(&space, start, length)?,
        };
        if start & bits != 0 {
            return Err(Errno::EINVAL);
        }
        let last = last_of(iova, length).ok_or(Errno::EOVERFLOW)?;
        let area = Area {
            last,
            memory: memory.pages().clone(),
            offset: range.start,
            readable,
            writable,
        };
        space.insert(iova, area);
        Ok(iova)
    }

    /// Unmaps whole mappings, until one is not whole; how many bytes, and how that ended.
    pub(super) fn unmap(&self, iova: u64, length: u64) -> (u64, Result<(), Errno>) {
        if length == 0 {
            return (0, Err(Errno::EINVAL));
        }
        let Some(last) = last_of(iova, length) else {
            return (0, Err(Errno::EOVERFLOW));
        };
        let mut space = lock(&self.space);
        let met = space.overlapping(iova, last);
        let mut unmapped = 0_u64;
        for (first, end) in &met {
            if *first < iova || *end > last {
                return (unmapped, Err(Errno::ENOENT));
            }
            unmapped = unmapped.wrapping_add(space.remove(*first));
        }
        let done = if met.is_empty() {
            Err(Errno::ENOENT)
        } else {
            Ok(())
        };
        (unmapped, done)
    }

    /// Unmaps everything; how many bytes that were.
    pub(super) fn unmap_all(&self) -> u64 {
        let mut space = lock(&self.space);
        let all = space.overlapping(0, u64::MAX);
        all.iter().fold(0, |unmapped: u64, (first, _)| {
            unmapped.wrapping_add(space.remove(*first))
        })
    }
}

/// Checks that `length` bytes at an address can be mapped.
fn check_free(space: &Space, iova: u64, length: u64) -> Result<(), Errno> {
    if iova & space.page.wrapping_sub(1) != 0 {
        return Err(Errno::EINVAL);
    }
    let last = last_of(iova, length).ok_or(Errno::EOVERFLOW)?;
    if !space.allows(iova, last) {
        return Err(Errno::EINVAL);
    }
    if !space.overlapping(iova, last).is_empty() {
        return Err(Errno::EEXIST);
    }
    Ok(())
}

/// Finds an address for `length` bytes that are `start` bytes into their memory.
fn find(space: &Space, start: u64, length: u64) -> Result<u64, Errno> {
    // The more the address is aligned, the larger the pages can be.
    let address = USER_ADDRESS.saturating_add(start);
    let most = 1_u64.checked_shl(address.trailing_zeros()).unwrap_or(1);
    let align = length.checked_next_power_of_two().ok_or(Errno::EOVERFLOW)?;
    let align = align.min(most);
    if align < space.page {
        return Err(Errno::EINVAL);
    }
    space.find(length, align).ok_or(Errno::ENOSPC)
}
