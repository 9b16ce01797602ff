//! What containers, iommufds, groups and devices owe to each other (drivers/vfio/group.c,
//! container.c, device_cdev.c and iommufd.c of Linux).

mod binding;
mod closing;
mod group;
mod hot_reset;
mod share;
pub(super) mod sriov;

use std::collections::BTreeMap;
use std::string::String;
use std::sync::{Arc, Mutex};
use std::vec::Vec;

use vfio_core::sys::Errno;

use crate::lock::lock;
use crate::sim::device::Device;
use crate::sim::device::SharedData;
use crate::sim::memory::Iommufd;
use crate::sim::memory::SharedSpace;
use sriov::Function;

use crate::sim::memory::Type1;
pub(super) use share::Share;

/// `EBADFD`: the file descriptor is of another kind. VFIO returns it nowhere else.
const EBADFD: Errno = Errno(77);

/// The open files that a kernel and whoever has a share in one hold.
pub(in crate::sim) type SharedFiles = Arc<Mutex<OpenFiles>>;

/// All that is open, and what it is attached to.
#[derive(Default)]
pub(in crate::sim) struct OpenFiles {
    last_id: u64,
    files: BTreeMap<u64, Open>,
    containers: BTreeMap<u64, Container>,
    iommufds: BTreeMap<u64, Iommufd>,
    groups: BTreeMap<u32, Group>,
    devices: Vec<Slot>,
    /// What devices reach that no IOMMU confines.
    physical: SharedSpace,
    /// The data of migrations, each with the place of its device.
    migrations: BTreeMap<u64, (usize, SharedData)>,
}

/// What an open file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum File {
    /// A container, by its id.
    Container(u64),
    /// An iommufd, by its id.
    Iommufd(u64),
    /// A group, by its number.
    Group(u32),
    /// A device, by its place among the devices, opened through its group.
    Device(usize),
    /// A device that was opened by itself.
    Cdev { place: usize, is_bound: bool },
    /// The data of a migration, by the id of the file.
    Migration(u64),
}

/// A file stays open until the last who has a share in it gives it back.
struct Open {
    file: File,
    shares: usize,
}

/// A container lives for as long as its file is open or a group is in it.
struct Container {
    is_open: bool,
    /// In the order of attachment.
    groups: Vec<u32>,
    /// What maps memory, once it was set.
    iommu: Option<ContainerIommu>,
}

/// The IOMMU driver of a container.
enum ContainerIommu {
    Type1(Type1),
    /// Nothing is mapped.
    NoIommu,
}

/// A group is in use for as long as its file or one of its devices is open.
#[derive(Default)]
struct Group {
    is_open: bool,
    open_devices: usize,
    context: Option<Context>,
    /// Whether a device of the group is bound to a driver other than VFIO's.
    is_owned_elsewhere: bool,
    /// Whether VFIO made it up for a device without an IOMMU.
    is_noiommu: bool,
    /// How many of its devices are in use without it.
    bound_cdevs: usize,
}

/// What a group is attached to, by the id of the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    Container(u64),
    Iommufd(u64),
}

struct Slot {
    name: String,
    group: u32,
    open_files: usize,
    device: Arc<Mutex<Device>>,
    binding: Option<Binding>,
    function: Function,
}

/// The iommufd that a device is bound to.
struct Binding {
    /// The id of the file.
    iommufd: u64,
    device: u32,
    /// The address space that it is attached to.
    ioas: Option<u32>,
}

impl OpenFiles {
    /// Adds a device, unless the name is taken.
    pub(in crate::sim) fn add(
        &mut self,
        name: String,
        group: u32,
        device: Device,
    ) -> Result<(), Errno> {
        if self.devices.iter().any(|slot| slot.name == name) {
            return Err(Errno::EEXIST);
        }
        self.groups.entry(group).or_default();
        self.devices.push(Slot {
            name,
            group,
            open_files: 0,
            device: Arc::new(Mutex::new(device)),
            binding: None,
            function: Function::Plain,
        });
        Ok(())
    }

    /// Binds a device of a group to another driver.
    pub(in crate::sim) fn own_elsewhere(&mut self, group: u32) {
        self.groups.entry(group).or_default().is_owned_elsewhere = true;
    }

    /// Makes a group one that no IOMMU confines.
    pub(in crate::sim) fn without_iommu(&mut self, group: u32) {
        self.groups.entry(group).or_default().is_noiommu = true;
    }

    /// Tells whether there is a device that no IOMMU confines.
    pub(in crate::sim) fn has_noiommu(&self) -> bool {
        self.groups.values().any(|group| group.is_noiommu)
    }

    /// Returns physical memory.
    pub(in crate::sim) const fn physical(&self) -> &SharedSpace {
        &self.physical
    }

    /// Returns how many files are open.
    pub(in crate::sim) fn len(&self) -> usize {
        self.files.len()
    }

    /// Returns how many containers are alive: their files may be closed already.
    pub(in crate::sim) fn live_containers(&self) -> usize {
        self.containers.len()
    }

    /// Returns how many mappings for devices there are.
    pub(in crate::sim) fn dma_mappings(&self) -> usize {
        let of_container = |container: &Container| match &container.iommu {
            Some(ContainerIommu::Type1(iommu)) => lock(iommu.space()).len(),
            Some(ContainerIommu::NoIommu) | None => 0,
        };
        let in_containers: usize = self.containers.values().map(of_container).sum();
        let in_iommufds: usize = self.iommufds.values().map(Iommufd::mappings).sum();
        in_containers.saturating_add(in_iommufds)
    }

    /// Opens a file; its id.
    fn open(&mut self, file: impl FnOnce(u64) -> File) -> u64 {
        self.last_id = self.last_id.wrapping_add(1);
        let id = self.last_id;
        let file = file(id);
        self.files.insert(id, Open { file, shares: 1 });
        id
    }

    pub(in crate::sim) fn file(&self, id: u64) -> Result<File, Errno> {
        self.files
            .get(&id)
            .map(|open| open.file)
            .ok_or(Errno::EBADF)
    }

    pub(in crate::sim) fn device(&self, place: usize) -> Result<Arc<Mutex<Device>>, Errno> {
        let slot = self.devices.get(place).ok_or(Errno::ENODEV)?;
        Ok(Arc::clone(&slot.device))
    }

    /// Returns all devices.
    pub(in crate::sim) fn devices(&self) -> Vec<Arc<Mutex<Device>>> {
        self.devices
            .iter()
            .map(|slot| Arc::clone(&slot.device))
            .collect()
    }

    /// Returns the group of the device of a name, and whether no IOMMU confines it.
    pub(in crate::sim) fn group_of(&self, name: &str) -> Option<(u32, bool)> {
        let slot = self.devices.iter().find(|slot| slot.name == name)?;
        let group = self.groups.get(&slot.group)?;
        Some((slot.group, group.is_noiommu))
    }

    /// Tells whether a device can be opened by itself.
    pub(in crate::sim) fn has_cdev(&self, place: usize) -> bool {
        let group = self.devices.get(place).map(|slot| slot.group);
        let group = group.and_then(|group| self.groups.get(&group));
        group.is_some_and(|group| !group.is_noiommu)
    }

    /// Opens the data of the migration of a device.
    pub(in crate::sim) fn open_migration(&mut self, place: usize, data: SharedData) -> u64 {
        let id = self.open(File::Migration);
        self.migrations.insert(id, (place, data));
        id
    }

    /// Returns the data of a migration, and the place of its device.
    pub(in crate::sim) fn migration(&self, id: u64) -> Result<(usize, SharedData), Errno> {
        self.migrations.get(&id).cloned().ok_or(Errno::EBADF)
    }

    /// Returns the iommufd that a device is bound to, and the device's id there.
    pub(in crate::sim) fn binding(&self, place: usize) -> Option<(u64, u32)> {
        let binding = self.devices.get(place)?.binding.as_ref()?;
        Some((binding.iommufd, binding.device))
    }

    /// Returns the iommufd that a device is bound to.
    pub(in crate::sim) fn iommufd_of(&self, place: usize) -> Option<u64> {
        self.binding(place).map(|(iommufd, _)| iommufd)
    }

    /// Tells whether a device of the group of another one is bound to an iommufd.
    pub(in crate::sim) fn has_group_bound(&self, iommufd: u64, place: usize) -> bool {
        let Some(group) = self.devices.get(place).map(|slot| slot.group) else {
            return false;
        };
        self.devices.iter().any(|slot| {
            let bound = slot.binding.as_ref().map(|binding| binding.iommufd);
            slot.group == group && bound == Some(iommufd)
        })
    }

    /// Returns the place of the device of a name.
    pub(in crate::sim) fn place(&self, name: &str) -> Option<usize> {
        self.devices.iter().position(|slot| slot.name == name)
    }

    fn slot(&self, place: usize) -> Result<&Slot, Errno> {
        self.devices.get(place).ok_or(Errno::ENODEV)
    }
}

impl File {
    /// Returns the device that it is, by its place. Not one that was not bound yet.
    pub(in crate::sim) const fn device(self) -> Option<usize> {
        match self {
            Self::Device(place)
            | Self::Cdev {
                place,
                is_bound: true,
            } => Some(place),
            _ => None,
        }
    }

    /// Returns the error of a request that is for another kind of file.
    pub(in crate::sim) const fn refusal(self) -> Errno {
        match self {
            Self::Cdev {
                is_bound: false, ..
            } => Errno::EINVAL,
            _ => Errno::ENOTTY,
        }
    }
}

impl Group {
    const fn is_in_use(&self) -> bool {
        self.is_open || self.open_devices != 0
    }
}
