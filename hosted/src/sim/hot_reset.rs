//! Hot resets, and whose the devices are that one takes along (drivers/vfio/pci/vfio_pci_core.c
//! and drivers/vfio/iommufd.c of Linux).

use std::vec;
use std::vec::Vec;

use vfio_core::sys::{Errno, InfoRequest};
use vfio_core::wire::abi::{HotResetFlags, PciDependentDevice, PciHotReset};
use vfio_core::wire::server;

use super::exchange::structure::get;
use super::kernel::lock;
use super::session::{File, Session};
use super::{Fd, HotReset, Kernel};

/// How a caller has a device.
enum Owned {
    /// It is bound to the caller's iommufd, under this id.
    Bound(u32),
    /// Nobody has opened it, and its group is the caller's.
    WithGroup,
    No,
}

impl Kernel {
    /// `VFIO_DEVICE_PCI_HOT_RESET`.
    pub(super) fn hot_reset(
        &self,
        place: usize,
        file: File,
        argument: &[u8],
        files: &[&Fd],
    ) -> Result<(), Errno> {
        let head = get::<PciHotReset>(argument)?;
        if head.flags != 0 {
            return Err(Errno::EINVAL);
        }
        let files: Vec<File> = files
            .iter()
            .map(|file| self.file(file))
            .collect::<Result<_, _>>()?;
        let session = self.0.session();
        let affected = session.affected(place)?;
        if files.is_empty() {
            let iommufd = session.iommufd_of(place).ok_or(Errno::EINVAL)?;
            session.all_owned(&affected, |at| {
                !matches!(session.owned_by(iommufd, at), Owned::No)
            })?;
        } else {
            if files.len() > affected.len() || matches!(file, File::Cdev { .. }) {
                return Err(Errno::EINVAL);
            }
            let mut groups = Vec::new();
            for file in &files {
                let File::Group(group) = *file else {
                    return Err(Errno::EINVAL);
                };
                groups.push(group);
            }
            session.all_owned(&affected, |at| {
                session
                    .group_at(at)
                    .is_some_and(|group| groups.contains(&group))
            })?;
        }
        let devices: Vec<_> = affected
            .iter()
            .filter_map(|at| session.device(session.place_at(*at)?).ok())
            .collect();
        drop(session);
        for device in devices {
            lock(&device).reset_with_others();
        }
        Ok(())
    }

    /// `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO` on a device that was opened by itself: the ids of
    /// devices stand in the place of their groups.
    pub(super) fn hot_reset_info_by_id(&self, place: usize, reply: &mut [u8]) -> Result<(), Errno> {
        let session = self.0.session();
        let iommufd = session.iommufd_of(place).ok_or(Errno::EINVAL)?;
        let mut flags = HotResetFlags::DEV_ID | HotResetFlags::DEV_ID_OWNED;
        let mut devices = vec![];
        for at in session.affected(place)? {
            let devid = match session.owned_by(iommufd, at) {
                Owned::Bound(id) => id,
                Owned::WithGroup => 0,
                Owned::No => {
                    flags &= !HotResetFlags::DEV_ID_OWNED;
                    u32::MAX
                }
            };
            devices.push(PciDependentDevice {
                group_id: devid,
                ..at
            });
        }
        let hot_reset = server::HotReset {
            flags,
            devices: &devices,
        };
        let answering = server::Device {
            hot_reset: Some(hot_reset),
            ..Default::default()
        };
        answering.answer(InfoRequest::PciHotReset, reply)
    }
}

impl Session {
    /// The devices that a hot reset of a device takes along, by their addresses.
    fn affected(&self, place: usize) -> Result<Vec<PciDependentDevice>, Errno> {
        let device = self.device(place)?;
        let device = lock(&device);
        if !device.dialect().knows_hot_reset {
            return Err(Errno::ENOTTY);
        }
        match &device.description().hot_reset {
            HotReset::None => Err(Errno::ENODEV),
            HotReset::Itself => Ok(vec![device.address()]),
            HotReset::Devices(devices) => Ok(devices.clone()),
        }
    }

    /// The device at an address, by its place.
    fn place_at(&self, at: PciDependentDevice) -> Option<usize> {
        self.devices().iter().position(|device| {
            let known = lock(device).address();
            (known.segment, known.bus, known.devfn) == (at.segment, at.bus, at.devfn)
        })
    }

    /// The group of the device at an address.
    fn group_at(&self, at: PciDependentDevice) -> Option<u32> {
        let device = self.device(self.place_at(at)?).ok()?;
        let group = lock(&device).address().group_id;
        Some(group)
    }

    /// All devices must be there, with VFIO's driver, and owned.
    fn all_owned(
        &self,
        affected: &[PciDependentDevice],
        is_owned: impl Fn(PciDependentDevice) -> bool,
    ) -> Result<(), Errno> {
        let is_well = |at: &PciDependentDevice| self.place_at(*at).is_some() && is_owned(*at);
        if affected.iter().all(is_well) {
            Ok(())
        } else {
            Err(Errno::EINVAL)
        }
    }

    /// How the holder of an iommufd has the device at an address.
    fn owned_by(&self, iommufd: u64, at: PciDependentDevice) -> Owned {
        let Some(place) = self.place_at(at) else {
            return Owned::No;
        };
        match self.binding(place) {
            Some((bound, id)) if bound == iommufd => Owned::Bound(id),
            Some(_) => Owned::No,
            None if self.has_group_bound(iommufd, place) => Owned::WithGroup,
            None => Owned::No,
        }
    }
}
