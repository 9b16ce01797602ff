//! Containers and groups (drivers/vfio/group.c and container.c of Linux).

use std::sync::{Arc, Mutex};
use std::vec::Vec;

use vfio_core::sys::Errno;
use vfio_core::wire::abi::{Extension, GroupFlags};

use super::sriov::{self, Uuid};
use super::{Container, ContainerIommu, Context, EBADFD, File, OpenFiles, Slot};
use crate::discovery::Address;
use crate::lock::lock;
use crate::sim::device::Device;
use crate::sim::memory::SharedSpace;
use crate::sim::memory::Type1;

impl OpenFiles {
    pub(in crate::sim) fn open_container(&mut self) -> u64 {
        let id = self.open(File::Container);
        self.containers.insert(
            id,
            Container {
                is_open: true,
                groups: Vec::new(),
                iommu: None,
            },
        );
        id
    }

    /// Opens a group, which only one file at a time can be.
    pub(in crate::sim) fn open_group(
        &mut self,
        number: u32,
        is_noiommu: bool,
    ) -> Result<u64, Errno> {
        let group = self.groups.get_mut(&number);
        let group = group.filter(|group| group.is_noiommu == is_noiommu);
        let group = group.ok_or(Errno::ENOENT)?;
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
        if let File::Container(id) = argument
            && let Some(container) = self.containers.get(&id)
            && !container.groups.is_empty()
            && let Some(group) = self.groups.get(&number)
            && self.is_noiommu(container) != group.is_noiommu
        {
            return Err(Errno::EPERM);
        }
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

    /// Tells whether the IOMMU of a container was set.
    pub(in crate::sim) fn has_iommu(&self, container: u64) -> bool {
        let container = self.containers.get(&container);
        container.is_some_and(|container| container.iommu.is_some())
    }

    /// Returns the IOMMU of a container. `EINVAL` where none was set, `ENOTTY` where it does
    /// without.
    pub(in crate::sim) fn type1(&self, container: u64) -> Result<Type1, Errno> {
        let container = self.containers.get(&container).ok_or(Errno::EINVAL)?;
        match &container.iommu {
            Some(ContainerIommu::Type1(iommu)) => Ok(iommu.clone()),
            Some(ContainerIommu::NoIommu) => Err(Errno::ENOTTY),
            None => Err(Errno::EINVAL),
        }
    }

    /// Returns the address space of a container's devices. `EINVAL` where no IOMMU was set.
    fn space(&self, container: u64) -> Result<SharedSpace, Errno> {
        match self.type1(container) {
            Ok(iommu) => Ok(SharedSpace::clone(iommu.space())),
            Err(Errno::ENOTTY) => Ok(Arc::clone(&self.physical)),
            Err(errno) => Err(errno),
        }
    }

    pub(in crate::sim) fn set_iommu(&mut self, id: u64, value: u32) -> Result<(), Errno> {
        let container = self.containers.get(&id).ok_or(Errno::EINVAL)?;
        if container.groups.is_empty() || container.iommu.is_some() {
            return Err(Errno::EINVAL);
        }
        let is_noiommu = self.is_noiommu(container);
        let is_v2 = match Extension(value) {
            Extension::NOIOMMU_IOMMU if is_noiommu => {
                let container = self.containers.get_mut(&id).ok_or(Errno::EINVAL)?;
                container.iommu = Some(ContainerIommu::NoIommu);
                return Ok(());
            }
            // No driver but the one that maps nothing takes such groups.
            _ if is_noiommu => return Err(Errno::ENODEV),
            Extension::TYPE1_IOMMU => false,
            Extension::TYPE1V2_IOMMU => true,
            // Extensions that type1 has, but that are no IOMMU.
            Extension::UNMAP_ALL | Extension::UPDATE_VADDR => return Err(Errno::EINVAL),
            _ => return Err(Errno::ENODEV),
        };
        let device = self.first_device(id).ok_or(Errno::ENODEV)?;
        let device = lock(&device);
        let iommu = Type1::new(device.iommu(), is_v2, device.is_of_old_kernel());
        drop(device);
        let container = self.containers.get_mut(&id).ok_or(Errno::EINVAL)?;
        container.iommu = Some(ContainerIommu::Type1(iommu));
        Ok(())
    }

    /// Tells whether the groups of a container are ones that no IOMMU confines.
    fn is_noiommu(&self, container: &Container) -> bool {
        let first = container.groups.first();
        let first = first.and_then(|number| self.groups.get(number));
        first.is_some_and(|group| group.is_noiommu)
    }

    /// Returns the device whose IOMMU a container answers for: the first of the group that was
    /// attached first.
    pub(in crate::sim) fn first_device(&self, container: u64) -> Option<Arc<Mutex<Device>>> {
        let group = self.containers.get(&container)?.groups.first()?;
        let slot = self.devices.iter().find(|slot| slot.group == *group)?;
        Some(Arc::clone(&slot.device))
    }

    /// Returns the device of a group that is asked for, and the token behind its name.
    fn named(&self, number: u32, name: &str) -> Result<(usize, Option<Uuid>), Errno> {
        let of_group = |slot: &&Slot| slot.group == number;
        for slot in self.devices.iter().filter(of_group) {
            let matched = if slot.name.parse::<Address>().is_ok() {
                sriov::options(name, &slot.name)?
            } else {
                // Options are vfio-pci's.
                (slot.name == name).then_some(None)
            };
            if let Some(token) = matched {
                let place = self.place(&slot.name).ok_or(Errno::ENODEV)?;
                return Ok((place, token));
            }
        }
        Err(Errno::ENODEV)
    }

    /// Opens a device of a group, which any number of files at a time can be.
    pub(in crate::sim) fn open_device(&mut self, number: u32, name: &str) -> Result<u64, Errno> {
        let (place, token) = self.named(number, name)?;
        self.match_token(place, token)?;
        let group = self.groups.get(&number).ok_or(Errno::ENODEV)?;
        let is_first = self.slot(place)?.open_files == 0;
        match group.context.ok_or(Errno::EINVAL)? {
            Context::Container(id) => {
                let space = self.space(id)?;
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
        if is_first {
            self.use_token(place, |users| users.saturating_add(1));
        }
        let slot = self.devices.get_mut(place).ok_or(Errno::ENODEV)?;
        slot.open_files = slot.open_files.saturating_add(1);
        let group = self.groups.get_mut(&number).ok_or(Errno::ENODEV)?;
        group.open_devices = group.open_devices.saturating_add(1);
        Ok(self.open(|_| File::Device(place)))
    }
}
