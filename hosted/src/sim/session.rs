//! What containers, iommufds, groups and devices owe to each other (drivers/vfio/group.c,
//! container.c, device_cdev.c and iommufd.c of Linux).

use std::collections::BTreeMap;
use std::string::String;
use std::sync::{Arc, Mutex};
use std::vec::Vec;

use vfio_core::abi::{Extension, GroupFlags};
use vfio_core::sys::Errno;

use super::device::Device;
use super::event::Signal;
use super::iommufd::Iommufd;
use super::kernel::lock;
use super::space::SharedSpace;
use super::sriov::{self, Function, Token, Uuid};
use super::type1::Type1;
use crate::discovery::Address;

/// `EBADFD`: the file descriptor is of another kind. VFIO returns it nowhere else.
const EBADFD: Errno = Errno(77);

/// All that is open, and what it is attached to.
#[derive(Default)]
pub(super) struct Session {
    last_id: u64,
    files: BTreeMap<u64, Open>,
    /// What the numbers stand for that requests name files and events by.
    numbers: BTreeMap<i32, Numbered>,
    containers: BTreeMap<u64, Container>,
    iommufds: BTreeMap<u64, Iommufd>,
    groups: BTreeMap<u32, Group>,
    devices: Vec<Slot>,
    /// What devices reach that no IOMMU confines.
    physical: SharedSpace,
}

/// What an open file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum File {
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
}

/// A file stays open until the last who has a share in it gives it back.
struct Open {
    file: File,
    shares: usize,
}

enum Numbered {
    /// A file, by its id.
    File(u64),
    Event(Signal),
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
            binding: None,
            function: Function::Plain,
        });
        Ok(())
    }

    /// Makes the device `name` a virtual function of `physical`.
    pub(super) fn make_virtual(&mut self, name: &str, physical: &str) -> Result<(), Errno> {
        let place = self.place(name).ok_or(Errno::ENODEV)?;
        let of = self.place(physical).ok_or(Errno::ENODEV)?;
        let slot = self.devices.get_mut(of).ok_or(Errno::ENODEV)?;
        if slot.function == Function::Plain {
            slot.function = Function::Physical(Token::UNKNOWN);
        }
        let slot = self.devices.get_mut(place).ok_or(Errno::ENODEV)?;
        slot.function = Function::Virtual(of);
        Ok(())
    }

    /// The token of a physical function.
    pub(super) fn token(&mut self, place: usize) -> Option<&mut Token> {
        match &mut self.devices.get_mut(place)?.function {
            Function::Physical(token) => Some(token),
            _ => None,
        }
    }

    /// Whether a device may be opened with the token that was given.
    fn match_token(&mut self, place: usize, given: Option<Uuid>) -> Result<(), Errno> {
        match self.slot(place)?.function {
            Function::Plain if given.is_some() => Err(Errno::EINVAL),
            Function::Plain => Ok(()),
            Function::Physical(_) => self.token(place).ok_or(Errno::EINVAL)?.accept(given),
            Function::Virtual(of) => self.token(of).ok_or(Errno::EINVAL)?.admit(given),
        }
    }

    /// Counts those who use the token of a device's physical function.
    fn use_token(&mut self, place: usize, count: impl FnOnce(usize) -> usize) {
        let function = self.devices.get(place).map(|slot| slot.function);
        if let Some(Function::Virtual(of)) = function
            && let Some(token) = self.token(of)
        {
            token.users = count(token.users);
        }
    }

    /// Binds a device of a group to another driver.
    pub(super) fn own_elsewhere(&mut self, group: u32) {
        self.groups.entry(group).or_default().is_owned_elsewhere = true;
    }

    /// Makes a group one that no IOMMU confines.
    pub(super) fn without_iommu(&mut self, group: u32) {
        self.groups.entry(group).or_default().is_noiommu = true;
    }

    /// Whether there is a device that no IOMMU confines.
    pub(super) fn has_noiommu(&self) -> bool {
        self.groups.values().any(|group| group.is_noiommu)
    }

    /// Physical memory.
    pub(super) const fn physical(&self) -> &SharedSpace {
        &self.physical
    }

    pub(super) fn open_files(&self) -> usize {
        self.files.len()
    }

    /// How many events there are.
    pub(super) fn open_events(&self) -> usize {
        let is_event = |numbered: &&Numbered| matches!(numbered, Numbered::Event(_));
        self.numbers.values().filter(is_event).count()
    }

    /// How many containers are alive: their files may be closed already.
    pub(super) fn live_containers(&self) -> usize {
        self.containers.len()
    }

    /// How many mappings for devices there are.
    pub(super) fn dma_mappings(&self) -> usize {
        let of_container = |container: &Container| match &container.iommu {
            Some(ContainerIommu::Type1(iommu)) => lock(&iommu.space).len(),
            Some(ContainerIommu::NoIommu) | None => 0,
        };
        let in_containers: usize = self.containers.values().map(of_container).sum();
        let in_iommufds: usize = self.iommufds.values().map(Iommufd::mappings).sum();
        in_containers.saturating_add(in_iommufds)
    }

    pub(super) fn file(&self, id: u64) -> Result<File, Errno> {
        self.files
            .get(&id)
            .map(|open| open.file)
            .ok_or(Errno::EBADF)
    }

    pub(super) fn device(&self, place: usize) -> Result<Arc<Mutex<Device>>, Errno> {
        let slot = self.devices.get(place).ok_or(Errno::ENODEV)?;
        Ok(Arc::clone(&slot.device))
    }

    /// All devices.
    pub(super) fn devices(&self) -> Vec<Arc<Mutex<Device>>> {
        self.devices
            .iter()
            .map(|slot| Arc::clone(&slot.device))
            .collect()
    }

    /// The place of the device of a name.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.devices.iter().position(|slot| slot.name == name)
    }

    /// The group of the device of a name, and whether no IOMMU confines it.
    pub(super) fn group_of(&self, name: &str) -> Option<(u32, bool)> {
        let slot = self.devices.iter().find(|slot| slot.name == name)?;
        let group = self.groups.get(&slot.group)?;
        Some((slot.group, group.is_noiommu))
    }

    /// Whether a device can be opened by itself.
    pub(super) fn has_cdev(&self, place: usize) -> bool {
        let group = self.devices.get(place).map(|slot| slot.group);
        let group = group.and_then(|group| self.groups.get(&group));
        group.is_some_and(|group| !group.is_noiommu)
    }

    /// Opens a file, and gives it a number.
    fn open(&mut self, file: impl FnOnce(u64) -> File) -> (u64, i32) {
        self.last_id = self.last_id.wrapping_add(1);
        let id = self.last_id;
        let file = file(id);
        self.files.insert(id, Open { file, shares: 1 });
        (id, self.number(Numbered::File(id)))
    }

    /// The lowest number that is free; below it are those of every program.
    fn number(&mut self, numbered: Numbered) -> i32 {
        let number = (3..)
            .find(|number| !self.numbers.contains_key(number))
            .unwrap_or(i32::MAX);
        self.numbers.insert(number, numbered);
        number
    }

    pub(super) fn open_event(&mut self, signal: Signal) -> i32 {
        self.number(Numbered::Event(signal))
    }

    pub(super) fn close_event(&mut self, number: i32) {
        self.numbers.remove(&number);
    }

    /// The event of a number.
    pub(super) fn event(&self, number: i32) -> Result<Signal, Errno> {
        match self.numbers.get(&number) {
            Some(Numbered::Event(signal)) => Ok(Signal::clone(signal)),
            Some(Numbered::File(_)) => Err(Errno::EINVAL),
            None => Err(Errno::EBADF),
        }
    }

    pub(super) fn open_container(&mut self) -> (u64, i32) {
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

    pub(super) fn open_iommufd(&mut self) -> (u64, i32) {
        let (id, number) = self.open(File::Iommufd);
        self.iommufds.insert(id, Iommufd::default());
        (id, number)
    }

    /// Opens a group, which only one file at a time can be.
    pub(super) fn open_group(
        &mut self,
        number: u32,
        is_noiommu: bool,
    ) -> Result<(u64, i32), Errno> {
        let group = self.groups.get_mut(&number);
        let group = group.filter(|group| group.is_noiommu == is_noiommu);
        let group = group.ok_or(Errno::ENOENT)?;
        if group.is_in_use() || group.bound_cdevs != 0 {
            return Err(Errno::EBUSY);
        }
        group.is_open = true;
        Ok(self.open(|_| File::Group(number)))
    }

    /// Opens a device by itself.
    pub(super) fn open_cdev(&mut self, place: usize) -> Result<(u64, i32), Errno> {
        if !self.has_cdev(place) {
            return Err(Errno::ENOENT);
        }
        let is_bound = false;
        Ok(self.open(|_| File::Cdev { place, is_bound }))
    }

    pub(super) fn group_flags(&self, number: u32) -> GroupFlags {
        match self.groups.get(&number) {
            Some(group) if group.context.is_some() => {
                GroupFlags::VIABLE | GroupFlags::CONTAINER_SET
            }
            Some(group) if !group.is_owned_elsewhere => GroupFlags::VIABLE,
            _ => GroupFlags::empty(),
        }
    }

    pub(super) fn set_container(&mut self, number: u32, argument: File) -> Result<(), Errno> {
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

    pub(super) fn unset_container(&mut self, number: u32) -> Result<(), Errno> {
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
    pub(super) fn has_iommu(&self, container: u64) -> bool {
        let container = self.containers.get(&container);
        container.is_some_and(|container| container.iommu.is_some())
    }

    /// The IOMMU of a container; `EINVAL` where none was set, `ENOTTY` where it does without.
    pub(super) fn type1(&self, container: u64) -> Result<Type1, Errno> {
        let container = self.containers.get(&container).ok_or(Errno::EINVAL)?;
        match &container.iommu {
            Some(ContainerIommu::Type1(iommu)) => Ok(iommu.clone()),
            Some(ContainerIommu::NoIommu) => Err(Errno::ENOTTY),
            None => Err(Errno::EINVAL),
        }
    }

    /// What the devices of a container reach; `EINVAL` where no IOMMU was set.
    fn space(&self, container: u64) -> Result<SharedSpace, Errno> {
        match self.type1(container) {
            Ok(iommu) => Ok(iommu.space),
            Err(Errno::ENOTTY) => Ok(Arc::clone(&self.physical)),
            Err(errno) => Err(errno),
        }
    }

    pub(super) fn iommufd(&mut self, id: u64) -> Result<&mut Iommufd, Errno> {
        self.iommufds.get_mut(&id).ok_or(Errno::EBADF)
    }

    /// The first device that is bound to an iommufd.
    pub(super) fn first_bound(&self, iommufd: u64) -> Option<Arc<Mutex<Device>>> {
        let is_bound = |slot: &&Slot| {
            let binding = slot.binding.as_ref();
            binding.is_some_and(|binding| binding.iommufd == iommufd)
        };
        let slot = self.devices.iter().find(is_bound)?;
        Some(Arc::clone(&slot.device))
    }

    pub(super) fn set_iommu(&mut self, id: u64, value: u32) -> Result<(), Errno> {
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
        let iommu = Type1 {
            space: device.iommu().space().shared(),
            limit: device.iommu().limit(),
            is_v2,
            past_the_end: if device.is_of_old_kernel() {
                Errno::EINVAL
            } else {
                Errno::EOVERFLOW
            },
        };
        drop(device);
        let container = self.containers.get_mut(&id).ok_or(Errno::EINVAL)?;
        container.iommu = Some(ContainerIommu::Type1(iommu));
        Ok(())
    }

    /// Whether the groups of a container are ones that no IOMMU confines.
    fn is_noiommu(&self, container: &Container) -> bool {
        let first = container.groups.first();
        let first = first.and_then(|number| self.groups.get(number));
        first.is_some_and(|group| group.is_noiommu)
    }

    /// The device whose IOMMU a container answers for: the first of the group that was attached
    /// first.
    pub(super) fn first_device(&self, container: u64) -> Option<Arc<Mutex<Device>>> {
        let group = self.containers.get(&container)?.groups.first()?;
        let slot = self.devices.iter().find(|slot| slot.group == *group)?;
        Some(Arc::clone(&slot.device))
    }

    /// The device of a group that is asked for, and the token that is given with its name.
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
    pub(super) fn open_device(&mut self, number: u32, name: &str) -> Result<(u64, i32), Errno> {
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

    /// Binds the device of the file `id`, which was opened by itself, to the iommufd of a
    /// number; returns the device's id there.
    pub(super) fn bind_cdev(
        &mut self,
        id: u64,
        iommufd: i32,
        token: Option<Uuid>,
    ) -> Result<u32, Errno> {
        let File::Cdev { place, is_bound } = self.file(id)? else {
            return Err(Errno::EINVAL);
        };
        let number = self.slot(place)?.group;
        let group = self.groups.get(&number).ok_or(Errno::ENODEV)?;
        if group.is_open {
            return Err(Errno::EBUSY);
        }
        if is_bound {
            return Err(Errno::EINVAL);
        }
        self.match_token(place, token)?;
        let group = self.groups.get(&number).ok_or(Errno::ENODEV)?;
        let iommufd = match self.numbers.get(&iommufd) {
            Some(Numbered::File(file)) if self.iommufds.contains_key(file) => *file,
            Some(_) => return Err(EBADFD),
            None => return Err(Errno::EBADF),
        };
        if self.slot(place)?.open_files != 0 {
            return Err(Errno::EINVAL);
        }
        if group.is_owned_elsewhere {
            return Err(Errno::EPERM);
        }
        let device = self.bind(place, iommufd)?;
        self.use_token(place, |users| users.saturating_add(1));
        let slot = self.devices.get_mut(place).ok_or(Errno::ENODEV)?;
        slot.open_files = 1;
        if let Some(group) = self.groups.get_mut(&number) {
            group.bound_cdevs = group.bound_cdevs.saturating_add(1);
        }
        if let Some(open) = self.files.get_mut(&id) {
            let is_bound = true;
            open.file = File::Cdev { place, is_bound };
        }
        Ok(device)
    }

    /// Opens a device on an iommufd, in which it has a share until it is closed.
    fn bind(&mut self, place: usize, iommufd: u64) -> Result<u32, Errno> {
        let device = self.iommufd(iommufd)?.add_device();
        self.share(iommufd);
        let slot = self.devices.get_mut(place).ok_or(Errno::ENODEV)?;
        slot.binding = Some(Binding {
            iommufd,
            device,
            ioas: None,
        });
        lock(&slot.device).enable();
        Ok(device)
    }

    fn unbind(&mut self, place: usize) {
        self.detach(place);
        let slot = self.devices.get_mut(place);
        if let Some(binding) = slot.and_then(|slot| slot.binding.take()) {
            if let Ok(iommufd) = self.iommufd(binding.iommufd) {
                iommufd.remove_device(binding.device);
            }
            self.release(binding.iommufd);
        }
    }

    /// Attaches a bound device to an address space, in place of the one that it had; returns the
    /// id of the page table.
    pub(super) fn attach(&mut self, place: usize, to: u32) -> Result<u32, Errno> {
        let slot = self.devices.get_mut(place).ok_or(Errno::ENODEV)?;
        let binding = slot.binding.as_mut().ok_or(Errno::EINVAL)?;
        let iommufd = self.iommufds.get_mut(&binding.iommufd);
        let iommufd = iommufd.ok_or(Errno::EBADF)?;
        let mut device = lock(&slot.device);
        let attached = iommufd.attach(to, binding.device, device.iommu())?;
        match binding.ioas.replace(attached.ioas) {
            Some(before) if before != attached.ioas => iommufd.detach(before, binding.device),
            _ => (),
        }
        device.attach(Some(attached.space));
        Ok(attached.page_table)
    }

    /// Detaches a bound device from its address space.
    pub(super) fn detach(&mut self, place: usize) {
        let Some(slot) = self.devices.get_mut(place) else {
            return;
        };
        if let Some(binding) = slot.binding.as_mut()
            && let Some(ioas) = binding.ioas.take()
        {
            lock(&slot.device).attach(None);
            if let Some(iommufd) = self.iommufds.get_mut(&binding.iommufd) {
                iommufd.detach(ioas, binding.device);
            }
        }
    }

    fn slot(&self, place: usize) -> Result<&Slot, Errno> {
        self.devices.get(place).ok_or(Errno::ENODEV)
    }

    /// Closes a file that was opened, and frees its number.
    pub(super) fn close(&mut self, id: u64, number: i32) {
        self.numbers.remove(&number);
        self.release(id);
    }

    /// Takes a share in a file.
    pub(super) fn share(&mut self, id: u64) {
        if let Some(open) = self.files.get_mut(&id) {
            open.shares = open.shares.saturating_add(1);
        }
    }

    /// Gives a share in a file back.
    pub(super) fn release(&mut self, id: u64) {
        let Some(open) = self.files.get_mut(&id) else {
            return;
        };
        open.shares = open.shares.saturating_sub(1);
        if open.shares != 0 {
            return;
        }
        let file = open.file;
        self.files.remove(&id);
        match file {
            File::Container(container) => {
                if let Some(container) = self.containers.get_mut(&container) {
                    container.is_open = false;
                }
                self.release_container(container);
            }
            File::Iommufd(id) => {
                self.iommufds.remove(&id);
            }
            File::Group(number) => {
                if let Some(group) = self.groups.get_mut(&number) {
                    group.is_open = false;
                }
                self.release_group(number);
            }
            File::Device(place) => {
                let number = self.close_device(place);
                let group = number.and_then(|number| self.groups.get_mut(&number));
                if let Some(group) = group {
                    group.open_devices = group.open_devices.saturating_sub(1);
                }
                if let Some(number) = number {
                    self.release_group(number);
                }
            }
            File::Cdev { place, is_bound } => {
                if is_bound
                    && let Some(number) = self.close_device(place)
                    && let Some(group) = self.groups.get_mut(&number)
                {
                    group.bound_cdevs = group.bound_cdevs.saturating_sub(1);
                }
            }
        }
    }

    /// Closes one of the files of a device; the number of its group.
    fn close_device(&mut self, place: usize) -> Option<u32> {
        let slot = self.devices.get_mut(place)?;
        let number = slot.group;
        slot.open_files = slot.open_files.saturating_sub(1);
        if slot.open_files == 0 {
            lock(&slot.device).disable();
            self.use_token(place, |users| users.saturating_sub(1));
            self.unbind(place);
        }
        Some(number)
    }

    /// Takes a group that is in use no more out of its container.
    fn release_group(&mut self, number: u32) {
        let group = self.groups.get(&number);
        if group.is_some_and(|group| !group.is_in_use()) {
            self.detach_group(number);
        }
    }

    fn detach_group(&mut self, number: u32) {
        let context = self
            .groups
            .get_mut(&number)
            .and_then(|group| group.context.take());
        match context {
            Some(Context::Container(id)) => {
                if let Some(container) = self.containers.get_mut(&id) {
                    container.groups.retain(|group| *group != number);
                    if container.groups.is_empty() {
                        // All mappings go with it.
                        container.iommu = None;
                    }
                }
                self.release_container(id);
            }
            Some(Context::Iommufd(id)) => self.release(id),
            None => (),
        }
    }

    /// Forgets a container that nobody needs any more.
    fn release_container(&mut self, id: u64) {
        let container = self.containers.get(&id);
        if container.is_some_and(|container| !container.is_open && container.groups.is_empty()) {
            self.containers.remove(&id);
        }
    }
}

impl Group {
    const fn is_in_use(&self) -> bool {
        self.is_open || self.open_devices != 0
    }
}
