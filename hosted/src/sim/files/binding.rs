//! iommufds, and the devices bound to them (drivers/vfio/device_cdev.c and iommufd.c of Linux).

use std::sync::{Arc, Mutex};

use vfio_core::sys::Errno;

use super::sriov::Uuid;
use super::{Binding, EBADFD, File, OpenFiles, Slot};
use crate::lock::lock;
use crate::sim::device::Device;
use crate::sim::memory::Iommufd;

impl OpenFiles {
    pub(in crate::sim) fn open_iommufd(&mut self) -> u64 {
        let id = self.open(File::Iommufd);
        self.iommufds.insert(id, Iommufd::default());
        id
    }

    /// Opens a device by itself.
    pub(in crate::sim) fn open_cdev(&mut self, place: usize) -> Result<u64, Errno> {
        if !self.has_cdev(place) {
            return Err(Errno::ENOENT);
        }
        let is_bound = false;
        Ok(self.open(|_| File::Cdev { place, is_bound }))
    }

    pub(in crate::sim) fn iommufd(&mut self, id: u64) -> Result<&mut Iommufd, Errno> {
        self.iommufds.get_mut(&id).ok_or(Errno::EBADF)
    }

    /// Returns the first device that is bound to an iommufd.
    pub(in crate::sim) fn first_bound(&self, iommufd: u64) -> Option<Arc<Mutex<Device>>> {
        let is_bound = |slot: &&Slot| {
            let binding = slot.binding.as_ref();
            binding.is_some_and(|binding| binding.iommufd == iommufd)
        };
        let slot = self.devices.iter().find(is_bound)?;
        Some(Arc::clone(&slot.device))
    }

    /// Binds the device of the file `id`, which was opened by itself, to an iommufd; returns the
    /// device's id there.
    pub(in crate::sim) fn bind_cdev(
        &mut self,
        id: u64,
        iommufd: File,
        token: Option<Uuid>,
    ) -> Result<u32, Errno> {
        let File::Cdev { place, is_bound } = self.file(id)? else {
            return Err(Errno::EINVAL);
        };
        let number = self.slot(place)?.group;
        let iommufd = self.check_binding(place, is_bound, iommufd, token)?;
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

    /// Checks that a device can be bound, and that it is to an iommufd.
    fn check_binding(
        &mut self,
        place: usize,
        is_bound: bool,
        iommufd: File,
        token: Option<Uuid>,
    ) -> Result<u64, Errno> {
        let number = self.slot(place)?.group;
        let group = self.groups.get(&number).ok_or(Errno::ENODEV)?;
        let is_owned_elsewhere = group.is_owned_elsewhere;
        if group.is_open {
            return Err(Errno::EBUSY);
        }
        if is_bound {
            return Err(Errno::EINVAL);
        }
        self.match_token(place, token)?;
        let File::Iommufd(iommufd) = iommufd else {
            return Err(EBADFD);
        };
        if self.slot(place)?.open_files != 0 {
            return Err(Errno::EINVAL);
        }
        if is_owned_elsewhere {
            return Err(Errno::EPERM);
        }
        Ok(iommufd)
    }

    /// Opens a device on an iommufd, in which it has a share until it is closed.
    pub(super) fn bind(&mut self, place: usize, iommufd: u64) -> Result<u32, Errno> {
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

    pub(super) fn unbind(&mut self, place: usize) {
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
    pub(in crate::sim) fn attach(&mut self, place: usize, to: u32) -> Result<u32, Errno> {
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
    pub(in crate::sim) fn detach(&mut self, place: usize) {
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
}
