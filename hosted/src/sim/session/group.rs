//! Containers and groups (drivers/vfio/group.c and container.c of Linux).

use std::sync::{Arc, Mutex};
use std::vec::Vec;

use vfio_core::abi::{Extension, GroupFlags};
use vfio_core::sys::Errno;

use super::{Container, Context, EBADFD, File, Session, Slot};
use crate::sim::device::Device;
use crate::sim::kernel::lock;
use crate::sim::type1::Type1;

impl Session {
    pub(in crate::sim) fn open_container(&mut self) -> (u64, i32) {
        let (id, number) = self.open(File::Container);
        self.containers.insert(
            id,
            Container {
                is_open: true,
                groups: Vec::new(),
                iommu: None,
            },
        );
        (id, number)
    }

    /// Opens a group, which only one file at a time can be.
    pub(in crate::sim) fn open_group(&mut self, number: u32) -> Result<(u64, i32), Errno> {
        let group = self.groups.get_mut(&number).ok_or(Errno::ENOENT)?;
        if group.is_in_use() || group.bound_cdevs != 0 {
            return Err(Errno::EBUSY);
        }
        group.is_open = true;
        Ok(self.open(|_| File::Group(number)))
    }

    pub(in crate::sim) fn group_flags(&self, number: u32) -> GroupFlags {
        match self.groups.get(&number) {
            Some(group) if group.context.is_some() => {
                GroupFlags::VIABLE | GroupFlags::CONTAINER_SET
            }
            Some(group) if !group.is_owned_elsewhere => GroupFlags::VIABLE,
            _ => GroupFlags::empty(),
        }
    }

    pub(in crate::sim) fn set_container(
        &mut self,
        number: u32,
        argument: File,
    ) -> Result<(), Errno> {
        let group = self.groups.get_mut(&number).ok_or(Errno::ENODEV)?;
        if group.context.is_some() {
            return Err(Errno::EINVAL);
        }
        match argument {
            File::Container(id) => {
                let container = self.containers.get_mut(&id).ok_or(EBADFD)?;
                if group.is_owned_elsewhere {
                    // The group's DMA has an owner already.
                    return Err(Errno::EPERM);
                }
                group.context = Some(Context::Container(id));
                container.groups.push(number);
            }
            File::Iommufd(id) => {
                group.context = Some(Context::Iommufd(id));
                self.iommufds.get_mut(&id).ok_or(EBADFD)?.as_container();
                self.share(id);
            }
            _ => return Err(EBADFD),
        }
        Ok(())
    }

    pub(in crate::sim) fn unset_container(&mut self, number: u32) -> Result<(), Errno> {
        let group = self.groups.get(&number).ok_or(Errno::ENODEV)?;
        match group.context {
            None => return Err(Errno::EINVAL),
            Some(Context::Container(_)) if group.open_devices != 0 => return Err(Errno::EBUSY),
            // A device has a share in the iommufd of its own.
            Some(_) => (),
        }
        self.detach_group(number);
        Ok(())
    }

    /// Whether the IOMMU of a container was set.
    pub(in crate::sim) fn has_iommu(&self, container: u64) -> bool {
        self.type1(container).is_ok()
    }

    /// The IOMMU of a container; `EINVAL` where none was set.
    pub(in crate::sim) fn type1(&self, container: u64) -> Result<Type1, Errno> {
        let container = self.containers.get(&container);
        container
            .and_then(|container| container.iommu.clone())
            .ok_or(Errno::EINVAL)
    }

    pub(in crate::sim) fn set_iommu(&mut self, id: u64, value: u32) -> Result<(), Errno> {
        let container = self.containers.get(&id).ok_or(Errno::EINVAL)?;
        if container.groups.is_empty() || container.iommu.is_some() {
            return Err(Errno::EINVAL);
        }
        let is_v2 = match Extension(value) {
            Extension::TYPE1_IOMMU => false,
            Extension::TYPE1V2_IOMMU => true,
            // Extensions that type1 has, but that are no IOMMU.
            Extension::UNMAP_ALL | Extension::UPDATE_VADDR => return Err(Errno::EINVAL),
            _ => return Err(Errno::ENODEV),
        };
        let device = self.first_device(id).ok_or(Errno::ENODEV)?;
        let device = lock(&device);
        let iommu = Type1 {
            space: device.iommu().space().shared(),
            limit: device.iommu().limit(),
            is_v2,
            is_tracking: Arc::default(),
            past_the_end: if device.is_of_old_kernel() {
                Errno::EINVAL
            } else {
                Errno::EOVERFLOW
            },
        };
        drop(device);
        let container = self.containers.get_mut(&id).ok_or(Errno::EINVAL)?;
        container.iommu = Some(iommu);
        Ok(())
    }

    /// The device whose IOMMU a container answers for: the first of the group that was attached
    /// first.
    pub(in crate::sim) fn first_device(&self, container: u64) -> Option<Arc<Mutex<Device>>> {
        let group = self.containers.get(&container)?.groups.first()?;
        let slot = self.devices.iter().find(|slot| slot.group == *group)?;
        Some(Arc::clone(&slot.device))
    }

    /// Opens a device of a group, which any number of files at a time can be.
    pub(in crate::sim) fn open_device(
        &mut self,
        number: u32,
        name: &str,
    ) -> Result<(u64, i32), Errno> {
        let is_it = |slot: &Slot| slot.group == number && slot.name == name;
        let place = self.devices.iter().position(is_it).ok_or(Errno::ENODEV)?;
        let group = self.groups.get(&number).ok_or(Errno::ENODEV)?;
        let is_first = self.slot(place)?.open_files == 0;
        match group.context.ok_or(Errno::EINVAL)? {
            Context::Container(id) => {
                let space = self.type1(id)?.space;
                if is_first {
                    let device = self.device(place)?;
                    let mut device = lock(&device);
                    device.enable();
                    device.attach(Some(space));
                }
            }
            Context::Iommufd(id) => {
                if group.is_owned_elsewhere {
                    return Err(Errno::EPERM);
                }
                if is_first {
                    self.bind(place, id)?;
                    let ioas = self.iommufd(id)?.as_container();
                    if let Err(errno) = self.attach(place, ioas) {
                        self.unbind(place);
                        return Err(errno);
                    }
                }
            }
        }
        let slot = self.devices.get_mut(place).ok_or(Errno::ENODEV)?;
        slot.open_files = slot.open_files.saturating_add(1);
        let group = self.groups.get_mut(&number).ok_or(Errno::ENODEV)?;
        group.open_devices = group.open_devices.saturating_add(1);
        Ok(self.open(|_| File::Device(place)))
    }
}
