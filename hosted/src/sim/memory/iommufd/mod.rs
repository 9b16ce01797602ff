//! The objects of an iommufd (drivers/iommu/iommufd of Linux).

mod ioas;

use std::collections::BTreeMap;
use std::ops::Range;

use vfio_core::sys::Errno;
use vfio_core::wire::abi::{
    DmaMapFlags, DmaUnmapFlags, IoasMapFlags, IommuIoasIovaRanges, IommuIoasMap, IommuIoasUnmap,
    IommuType1DmaMap, IommuType1DmaUnmap,
};
use zerocopy::IntoBytes;

use super::dma_memory::DmaMemory;
use super::space::SharedSpace;
use crate::lock::lock;
use crate::model::Iommu;
use crate::sim::pages::PAGE;
use ioas::Ioas;

/// An open iommufd.
#[derive(Default)]
pub(in crate::sim) struct Iommufd {
    objects: BTreeMap<u32, Object>,
    /// The address space that the file has as a container.
    container: Option<u32>,
}

enum Object {
    Ioas(Ioas),
    /// The page table of an I/O address space that has devices.
    PageTable {
        ioas: u32,
    },
    Device,
}

/// What a device is attached to.
pub(in crate::sim) struct Attachment {
    pub(in crate::sim) ioas: u32,
    pub(in crate::sim) page_table: u32,
    pub(in crate::sim) space: SharedSpace,
}

impl Iommufd {
    fn add(&mut self, object: Object) -> u32 {
        let id = (1..)
            .find(|id| !self.objects.contains_key(id))
            .unwrap_or(u32::MAX);
        self.objects.insert(id, object);
        id
    }

    /// Returns `IOMMU_IOAS_ALLOC`.
    pub(in crate::sim) fn add_ioas(&mut self) -> u32 {
        self.add(Object::Ioas(Ioas::default()))
    }

    /// Adds a device that is bound.
    pub(in crate::sim) fn add_device(&mut self) -> u32 {
        self.add(Object::Device)
    }

    /// Takes a device away, which is not attached any more.
    pub(in crate::sim) fn remove_device(&mut self, id: u32) {
        self.objects.remove(&id);
    }

    /// Serves `IOMMU_DESTROY`.
    pub(in crate::sim) fn destroy(&mut self, id: u32) -> Result<(), Errno> {
        match self.objects.get(&id) {
            None => Err(Errno::ENOENT),
            Some(Object::Ioas(ioas)) if ioas.page_table.is_none() => {
                self.objects.remove(&id);
                if self.container == Some(id) {
                    self.container = None;
                }
                Ok(())
            }
            Some(_) => Err(Errno::EBUSY),
        }
    }

    fn ioas(&self, id: u32) -> Result<&Ioas, Errno> {
        match self.objects.get(&id) {
            Some(Object::Ioas(ioas)) => Ok(ioas),
            _ => Err(Errno::ENOENT),
        }
    }

    fn ioas_mut(&mut self, id: u32) -> Result<&mut Ioas, Errno> {
        match self.objects.get_mut(&id) {
            Some(Object::Ioas(ioas)) => Ok(ioas),
            _ => Err(Errno::ENOENT),
        }
    }

    /// Returns how many mappings there are in all address spaces.
    pub(in crate::sim) fn mappings(&self) -> usize {
        let mappings = |object: &Object| match object {
            Object::Ioas(ioas) => lock(ioas.space()).len(),
            _ => 0,
        };
        self.objects.values().map(mappings).sum()
    }

    /// Attaches a device to an address space, named by itself or by its page table.
    pub(in crate::sim) fn attach(
        &mut self,
        to: u32,
        device: u32,
        iommu: &Iommu,
    ) -> Result<Attachment, Errno> {
        let id = match self.objects.get(&to) {
            None => return Err(Errno::ENOENT),
            Some(Object::Ioas(_)) => to,
            Some(Object::PageTable { ioas }) => *ioas,
            Some(Object::Device) => return Err(Errno::EINVAL),
        };
        let ioas = self.ioas_mut(id)?;
        ioas.attach(device, iommu)?;
        let space = SharedSpace::clone(ioas.space());
        let known = ioas.page_table;
        let page_table = match known {
            Some(table) => table,
            None => self.add(Object::PageTable { ioas: id }),
        };
        self.ioas_mut(id)?.page_table = Some(page_table);
        Ok(Attachment {
            ioas: id,
            page_table,
            space,
        })
    }

    /// Detaches a device from an address space.
    pub(in crate::sim) fn detach(&mut self, ioas: u32, device: u32) {
        let Ok(ioas) = self.ioas_mut(ioas) else {
            return;
        };
        if let Some(table) = ioas.detach(device) {
            self.objects.remove(&table);
        }
    }

    /// Serves `IOMMU_IOAS_IOVA_RANGES`: writes as many ranges as `list` has room for.
    pub(in crate::sim) fn iova_ranges(
        &self,
        request: &mut IommuIoasIovaRanges,
        list: &mut [u8],
    ) -> Result<(), Errno> {
        if request.reserved != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let space = lock(self.ioas(request.ioas_id)?.space());
        let room = request.num_iovas;
        for (slot, range) in list.chunks_exact_mut(16).zip(&space.allowed) {
            slot.iter_mut()
                .zip(range.as_bytes())
                .for_each(|(to, from)| *to = *from);
        }
        request.num_iovas = u32::try_from(space.allowed.len()).unwrap_or(u32::MAX);
        request.out_iova_alignment = space.page;
        if request.num_iovas > room {
            Err(Errno::EMSGSIZE)
        } else {
            Ok(())
        }
    }

    /// Serves `IOMMU_IOAS_MAP` of the bytes `range` of `memory`. Says in the request at which
    /// address.
    pub(in crate::sim) fn map(
        &self,
        request: &mut IommuIoasMap,
        memory: &DmaMemory,
        range: Range<usize>,
    ) -> Result<(), Errno> {
        let rights = IoasMapFlags::WRITEABLE | IoasMapFlags::READABLE;
        let known = IoasMapFlags::FIXED_IOVA | rights;
        if request.flags.intersects(!known) || request.reserved != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if request.iova == u64::MAX {
            return Err(Errno::EOVERFLOW);
        }
        if !request.flags.intersects(rights) {
            return Err(Errno::EINVAL);
        }
        let is_fixed = request.flags.contains(IoasMapFlags::FIXED_IOVA);
        request.iova = self.ioas(request.ioas_id)?.map(
            is_fixed.then_some(request.iova),
            memory,
            range,
            request.flags.contains(IoasMapFlags::READABLE),
            request.flags.contains(IoasMapFlags::WRITEABLE),
        )?;
        Ok(())
    }

    /// Serves `IOMMU_IOAS_UNMAP`. Says in the request how many bytes were unmapped.
    pub(in crate::sim) fn unmap(&self, request: &mut IommuIoasUnmap) -> Result<(), Errno> {
        let ioas = self.ioas(request.ioas_id)?;
        request.length = if (request.iova, request.length) == (0, u64::MAX) {
            ioas.unmap_all()
        } else if request.iova == u64::MAX || request.length == u64::MAX {
            return Err(Errno::EOVERFLOW);
        } else {
            let (unmapped, done) = ioas.unmap(request.iova, request.length);
            done?;
            unmapped
        };
        Ok(())
    }

    /// Makes the file a container, whose address space it returns.
    pub(in crate::sim) fn as_container(&mut self) -> u32 {
        match self.container {
            Some(ioas) => ioas,
            None => {
                let ioas = self.add_ioas();
                self.container = Some(ioas);
                ioas
            }
        }
    }

    /// Returns the address space as a container. `ENODEV` where the file is none.
    fn container(&self) -> Result<&Ioas, Errno> {
        self.ioas(self.container.ok_or(Errno::ENODEV)?)
    }

    /// Serves `VFIO_SET_IOMMU`, of type1 in one of its versions.
    pub(in crate::sim) fn set_iommu(&mut self, is_v2: bool) -> Result<(), Errno> {
        let ioas = self.container.ok_or(Errno::ENODEV)?;
        self.ioas_mut(ioas)?.cuts = !is_v2;
        Ok(())
    }

    /// Returns what the container says of itself: the page sizes of `iommu`, and the ranges.
    pub(in crate::sim) fn container_info(&self, iommu: Option<&Iommu>) -> Result<Iommu, Errno> {
        let space = lock(self.container()?.space());
        let pages = u64::MAX ^ u64::try_from(PAGE.wrapping_sub(1)).unwrap_or(0);
        Ok(Iommu::of_iommufd(
            iommu.map_or(pages, |iommu| iommu.pgsizes),
            space.allowed.clone(),
        ))
    }

    /// Serves `VFIO_IOMMU_MAP_DMA` on the container.
    pub(in crate::sim) fn map_dma(
        &self,
        request: &IommuType1DmaMap,
        memory: &DmaMemory,
        range: Range<usize>,
    ) -> Result<(), Errno> {
        let known = DmaMapFlags::READ | DmaMapFlags::WRITE;
        if request.flags.intersects(!known) {
            return Err(Errno::EINVAL);
        }
        self.container()?
            .map(
                Some(request.iova),
                memory,
                range,
                request.flags.contains(DmaMapFlags::READ),
                request.flags.contains(DmaMapFlags::WRITE),
            )
            .map(drop)
    }

    /// Serves `VFIO_IOMMU_UNMAP_DMA` on the container. Says in the request how many bytes were
    /// unmapped, even where it fails.
    pub(in crate::sim) fn unmap_dma(&self, request: &mut IommuType1DmaUnmap) -> Result<(), Errno> {
        if request.flags.intersects(!DmaUnmapFlags::ALL) {
            return Err(Errno::EINVAL);
        }
        let ioas = self.container()?;
        if request.flags.contains(DmaUnmapFlags::ALL) {
            if request.iova != 0 || request.size != 0 {
                return Err(Errno::EINVAL);
            }
            request.size = ioas.unmap_all();
            return Ok(());
        }
        if ioas.cuts {
            let mut space = lock(ioas.space());
            space.cut(request.iova);
            if let Some(end) = request.iova.checked_add(request.size) {
                space.cut(end);
            }
        }
        let (unmapped, done) = ioas.unmap(request.iova, request.size);
        request.size = unmapped;
        done
    }
}
