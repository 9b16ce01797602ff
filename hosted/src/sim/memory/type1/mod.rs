//! DMA mappings of a type1 container (drivers/vfio/vfio_iommu_type1.c of Linux).

mod dirty;

use std::ops::Range;
use std::sync::{Arc, Mutex};

use vfio_core::sys::Errno;
use vfio_core::wire::abi::{DmaMapFlags, DmaUnmapFlags, IommuType1DmaMap, IommuType1DmaUnmap};

use super::dma_memory::DmaMemory;
use super::space::{Area, SharedSpace, Space, last_of, length};
use crate::lock::lock;
use crate::model::Iommu;
use crate::sim::pages::PAGE;

/// The IOMMU of a container.
#[derive(Clone)]
pub(in crate::sim) struct Type1 {
    space: SharedSpace,
    /// How many mappings there can be.
    limit: usize,
    /// Type1v2: a mapping is unmapped whole or not at all.
    is_v2: bool,
    /// Whether dirty pages are tracked.
    is_tracking: Arc<Mutex<bool>>,
    /// Before Linux 7.0 what goes past 2^64 was merely invalid.
    past_the_end: Errno,
}

impl Type1 {
    /// Creates the driver of `iommu`, in one of its versions. `is_old` stands for a kernel from
    /// before Linux 7.0.
    pub(in crate::sim) fn new(iommu: &Iommu, is_v2: bool, is_old: bool) -> Self {
        Self {
            space: Space::new(iommu.iova_ranges(), iommu.page()).shared(),
            limit: iommu.limit(),
            is_v2,
            is_tracking: Arc::default(),
            past_the_end: if is_old {
                Errno::EINVAL
            } else {
                Errno::EOVERFLOW
            },
        }
    }

    /// Returns the space that the devices of the container reach.
    pub(in crate::sim) const fn space(&self) -> &SharedSpace {
        &self.space
    }

    /// Maps the bytes `range` of `memory`.
    pub(in crate::sim) fn map(
        &self,
        request: &IommuType1DmaMap,
        memory: &DmaMemory,
        range: Range<usize>,
    ) -> Result<(), Errno> {
        let known = DmaMapFlags::READ | DmaMapFlags::WRITE | DmaMapFlags::VADDR;
        let rights = request.flags & (DmaMapFlags::READ | DmaMapFlags::WRITE);
        let moves = request.flags.contains(DmaMapFlags::VADDR);
        if request.flags.intersects(!known) || rights.is_empty() != moves {
            return Err(Errno::EINVAL);
        }
        let mut space = lock(&self.space);
        let page = space.page.max(u64::try_from(PAGE).unwrap_or(1));
        let size = length(&range)?;
        let start = u64::try_from(range.start).map_err(|_| Errno::EINVAL)?;
        let bits = page.wrapping_sub(1);
        if size == 0 || (size | request.iova | start) & bits != 0 {
            return Err(Errno::EINVAL);
        }
        let last = last_of(request.iova, size).ok_or(self.past_the_end)?;
        self.check_free(&space, request.iova, last, moves)?;
        let area = Area {
            last,
            memory: memory.pages().clone(),
            offset: range.start,
            readable: rights.contains(DmaMapFlags::READ),
            writable: rights.contains(DmaMapFlags::WRITE),
        };
        space.insert(request.iova, area);
        Ok(())
    }

    /// Checks that `first` to `last` can be mapped, or that a mapping there can be moved.
    fn check_free(&self, space: &Space, first: u64, last: u64, moves: bool) -> Result<(), Errno> {
        let is_taken = !space.overlapping(first, last).is_empty();
        if moves {
            // No mapping has lost its address in the process: that is not simulated.
            return Err(if is_taken {
                Errno::EINVAL
            } else {
                Errno::ENOENT
            });
        }
        if is_taken {
            return Err(Errno::EEXIST);
        }
        if space.len() >= self.limit {
            return Err(Errno::ENOSPC);
        }
        if !space.allows(first, last) {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    /// Unmaps. Says in the request how many bytes that were.
    pub(in crate::sim) fn unmap(&self, request: &mut IommuType1DmaUnmap) -> Result<(), Errno> {
        let mut space = lock(&self.space);
        let page = space.page.max(u64::try_from(PAGE).unwrap_or(1));
        let bits = page.wrapping_sub(1);
        let is_all = request.flags.contains(DmaUnmapFlags::ALL);
        if request.flags.intersects(!DmaUnmapFlags::ALL) || request.iova & bits != 0 {
            return Err(Errno::EINVAL);
        }
        let last = if is_all {
            if request.iova != 0 || request.size != 0 {
                return Err(Errno::EINVAL);
            }
            u64::MAX
        } else {
            if request.size == 0 || request.size & bits != 0 {
                return Err(Errno::EINVAL);
            }
            last_of(request.iova, request.size).ok_or(self.past_the_end)?
        };
        let met = space.overlapping(request.iova, last);
        let is_cut = met
            .iter()
            .any(|(first, end)| *first < request.iova || *end > last);
        if self.is_v2 && is_cut {
            return Err(Errno::EINVAL);
        }
        let mut unmapped = 0_u64;
        for (first, _) in met {
            // Version 1 takes a mapping away that begins in the range, however long it is, and
            // stops at one that begins before it.
            if first < request.iova {
                break;
            }
            unmapped = unmapped.wrapping_add(space.remove(first));
        }
        request.size = unmapped;
        Ok(())
    }
}
