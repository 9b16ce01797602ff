//! What containers, groups and devices owe to each other (drivers/vfio/group.c and container.c
//! of Linux).

use std::collections::BTreeMap;
use std::string::String;
use std::sync::{Arc, Mutex};
use std::vec::Vec;

use vfio_core::abi::{Extension, GroupFlags};
use vfio_core::sys::Errno;

use super::device::Device;

/// `EBADFD`: the file descriptor is of another kind. VFIO returns it nowhere else.
const EBADFD: Errno = Errno(77);

/// All that is open, and what it is attached to.
#[derive(Default)]
pub(super) struct Session {
    last_id: u64,
    files: BTreeMap<u64, File>,
    containers: BTreeMap<u64, Container>,
    groups: BTreeMap<u32, Group>,
    devices: Vec<Slot>,
}

/// What an open file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum File {
    /// A container, by its id.
    Container(u64),
    /// A group, by its number.
    Group(u32),
    /// A device, by its place among the devices.
    Device(usize),
}

/// A container lives for as long as its file is open or a group is in it.
struct Container {
    is_open: bool,
    /// In the order of attachment.
    groups: Vec<u32>,
    /// The IOMMU, once it was set.
    iommu: Option<Extension>,
}

/// A group is in use for as long as its file or one of its devices is open.
#[derive(Default)]
struct Group {
    is_open: bool,
    open_devices: usize,
    container: Option<u64>,
    /// Whether a device of the group is bound to a driver other than VFIO's.
    is_owned_elsewhere: bool,
}

struct Slot {
    name: String,
    group: u32,
    open_files: usize,
    device: Arc<Mutex<Device>>,
}

impl Session {
    /// Adds a device, unless the name is taken.
    pub(super) fn add(&mut self, name: String, group: u32, device: Device) -> Result<(), Errno> {
        if self.devices.iter().any(|slot| slot.name == name) {
            return Err(Errno::EEXIST);
        }
        self.groups.entry(group).or_default();
        self.devices.push(Slot {
            name,
            group,
            open_files: 0,
            device: Arc::new(Mutex::new(device)),
        });
        Ok(())
    }

    /// Binds a device of a group to another driver.
    pub(super) fn own_elsewhere(&mut self, group: u32) {
        self.groups.entry(group).or_default().is_owned_elsewhere = true;
    }

    pub(super) fn open_files(&self) -> usize {
        self.files.len()
    }

    /// How many containers are alive: their files may be closed already.
    pub(super) fn live_containers(&self) -> usize {
        self.containers.len()
    }

    pub(super) fn file(&self, id: u64) -> Result<File, Errno> {
        self.files.get(&id).copied().ok_or(Errno::EBADF)
    }

    pub(super) fn device(&self, place: usize) -> Result<Arc<Mutex<Device>>, Errno> {
        let slot = self.devices.get(place).ok_or(Errno::ENODEV)?;
        Ok(Arc::clone(&slot.device))
    }

    pub(super) fn open_container(&mut self) -> u64 {
        let id = self.next_id();
        self.containers.insert(
            id,
            Container {
                is_open: true,
                groups: Vec::new(),
                iommu: None,
            },
        );
        self.files.insert(id, File::Container(id));
        id
    }

    /// Opens a group, which only one file at a time can be.
    pub(super) fn open_group(&mut self, number: u32) -> Result<u64, Errno> {
        let group = self.groups.get_mut(&number).ok_or(Errno::ENOENT)?;
        if group.is_in_use() {
            return Err(Errno::EBUSY);
        }
        group.is_open = true;
        let id = self.next_id();
        self.files.insert(id, File::Group(number));
        Ok(id)
    }

    pub(super) fn group_flags(&self, number: u32) -> GroupFlags {
        match self.groups.get(&number) {
            Some(group) if group.container.is_some() => {
                GroupFlags::VIABLE | GroupFlags::CONTAINER_SET
            }
            Some(group) if !group.is_owned_elsewhere => GroupFlags::VIABLE,
            _ => GroupFlags::empty(),
        }
    }

    pub(super) fn set_container(&mut self, number: u32, argument: File) -> Result<(), Errno> {
        let group = self.groups.get_mut(&number).ok_or(Errno::ENODEV)?;
        if group.container.is_some() {
            return Err(Errno::EINVAL);
        }
        let File::Container(id) = argument else {
            return Err(EBADFD);
        };
        let container = self.containers.get_mut(&id).ok_or(EBADFD)?;
        if group.is_owned_elsewhere {
            // The group's DMA has an owner already.
            return Err(Errno::EPERM);
        }
        group.container = Some(id);
        container.groups.push(number);
        Ok(())
    }

    pub(super) fn unset_container(&mut self, number: u32) -> Result<(), Errno> {
        let group = self.groups.get(&number).ok_or(Errno::ENODEV)?;
        if group.container.is_none() {
            return Err(Errno::EINVAL);
        }
        if group.open_devices != 0 {
            return Err(Errno::EBUSY);
        }
        self.detach(number);
        Ok(())
    }

    /// Whether the IOMMU of a container was set.
    pub(super) fn has_iommu(&self, container: u64) -> bool {
        self.containers
            .get(&container)
            .is_some_and(|container| container.iommu.is_some())
    }

    pub(super) fn set_iommu(&mut self, container: u64, value: u32) -> Result<(), Errno> {
        let container = self.containers.get_mut(&container).ok_or(Errno::EINVAL)?;
        if container.groups.is_empty() || container.iommu.is_some() {
            return Err(Errno::EINVAL);
        }
        match Extension(value) {
            iommu @ (Extension::TYPE1_IOMMU | Extension::TYPE1V2_IOMMU) => {
                container.iommu = Some(iommu);
                Ok(())
            }
            // Extensions that type1 has, but that are no IOMMU.
            Extension::UNMAP_ALL | Extension::UPDATE_VADDR => Err(Errno::EINVAL),
            _ => Err(Errno::ENODEV),
        }
    }

    /// The device whose IOMMU a container answers for: the first of the group that was attached
    /// first.
    pub(super) fn first_device(&self, container: u64) -> Option<Arc<Mutex<Device>>> {
        let group = self.containers.get(&container)?.groups.first()?;
        let slot = self.devices.iter().find(|slot| slot.group == *group)?;
        Some(Arc::clone(&slot.device))
    }

    /// Opens a device of a group, which any number of files at a time can be; tells the place of
    /// the device where this is the first one.
    pub(super) fn open_device(
        &mut self,
        number: u32,
        name: &str,
    ) -> Result<(u64, Option<usize>), Errno> {
        let (place, slot) = self
            .devices
            .iter_mut()
            .enumerate()
            .find(|(_, slot)| slot.group == number && slot.name == name)
            .ok_or(Errno::ENODEV)?;
        let group = self.groups.get_mut(&number).ok_or(Errno::ENODEV)?;
        let container = group.container.and_then(|id| self.containers.get(&id));
        if container.is_none_or(|container| container.iommu.is_none()) {
            return Err(Errno::EINVAL);
        }
        let is_first = slot.open_files == 0;
        slot.open_files = slot.open_files.saturating_add(1);
        group.open_devices = group.open_devices.saturating_add(1);
        let id = self.next_id();
        self.files.insert(id, File::Device(place));
        Ok((id, is_first.then_some(place)))
    }

    pub(super) fn close(&mut self, id: u64) {
        match self.files.remove(&id) {
            Some(File::Container(container)) => {
                if let Some(container) = self.containers.get_mut(&container) {
                    container.is_open = false;
                }
                self.release_container(container);
            }
            Some(File::Group(number)) => {
                if let Some(group) = self.groups.get_mut(&number) {
                    group.is_open = false;
                }
                self.release_group(number);
            }
            Some(File::Device(place)) => {
                if let Some(slot) = self.devices.get_mut(place) {
                    slot.open_files = slot.open_files.saturating_sub(1);
                    let number = slot.group;
                    if let Some(group) = self.groups.get_mut(&number) {
                        group.open_devices = group.open_devices.saturating_sub(1);
                    }
                    self.release_group(number);
                }
            }
            None => (),
        }
    }

    /// Takes a group that is in use no more out of its container.
    fn release_group(&mut self, number: u32) {
        let group = self.groups.get(&number);
        if group.is_some_and(|group| !group.is_in_use()) {
            self.detach(number);
        }
    }

    fn detach(&mut self, number: u32) {
        let container = self
            .groups
            .get_mut(&number)
            .and_then(|group| group.container.take());
        let Some(id) = container else {
            return;
        };
        if let Some(container) = self.containers.get_mut(&id) {
            container.groups.retain(|group| *group != number);
            if container.groups.is_empty() {
                container.iommu = None;
            }
        }
        self.release_container(id);
    }

    /// Forgets a container that nobody needs any more.
    fn release_container(&mut self, id: u64) {
        let container = self.containers.get(&id);
        if container.is_some_and(|container| !container.is_open && container.groups.is_empty()) {
            self.containers.remove(&id);
        }
    }

    const fn next_id(&mut self) -> u64 {
        self.last_id = self.last_id.wrapping_add(1);
        self.last_id
    }
}

impl Group {
    const fn is_in_use(&self) -> bool {
        self.is_open || self.open_devices != 0
    }
}
