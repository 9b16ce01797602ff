//! Whose the devices are that a hot reset takes along (drivers/vfio/pci/vfio_pci_core.c and
//! drivers/vfio/iommufd.c of Linux).

use std::sync::{Arc, Mutex};
use std::vec;
use std::vec::Vec;

use vfio_core::sys::Errno;
use vfio_core::wire::abi::{HotResetFlags, PciDependentDevice};

use super::{File, OpenFiles};
use crate::lock::lock;
use crate::model::HotReset;
use crate::sim::device::Device;

/// How a caller has a device.
enum Owned {
    /// It is bound to the caller's iommufd, under this id.
    Bound(u32),
    /// Nobody has opened it, and its group is the caller's.
    WithGroup,
    No,
}

impl OpenFiles {
    /// Returns the devices to reset with the one at `place`, where the caller has all of them: by
    /// the groups that it names, or by the iommufd of the device.
    pub(in crate::sim) fn to_reset(
        &self,
        place: usize,
        file: File,
        named: &[File],
    ) -> Result<Vec<Arc<Mutex<Device>>>, Errno> {
        let affected = self.affected(place)?;
        if named.is_empty() {
            let iommufd = self.iommufd_of(place).ok_or(Errno::EINVAL)?;
            let is_owned = |at| !matches!(self.owned_by(iommufd, at), Owned::No);
            self.all_owned(&affected, is_owned)?;
        } else {
            if named.len() > affected.len() || matches!(file, File::Cdev { .. }) {
                return Err(Errno::EINVAL);
            }
            let groups = groups_of(named)?;
            let is_owned = |at| {
                self.group_at(at)
                    .is_some_and(|group| groups.contains(&group))
            };
            self.all_owned(&affected, is_owned)?;
        }
        Ok(affected
            .iter()
            .filter_map(|at| self.device(self.place_at(*at)?).ok())
            .collect())
    }

    /// Returns the devices that a hot reset of the one at `place` takes along. Their ids stand in
    /// the places of their groups.
    pub(in crate::sim) fn affected_by_id(
        &self,
        place: usize,
    ) -> Result<(HotResetFlags, Vec<PciDependentDevice>), Errno> {
        let iommufd = self.iommufd_of(place).ok_or(Errno::EINVAL)?;
        let mut flags = HotResetFlags::DEV_ID | HotResetFlags::DEV_ID_OWNED;
        let mut devices = vec![];
        for at in self.affected(place)? {
            let devid = match self.owned_by(iommufd, at) {
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
        Ok((flags, devices))
    }

    /// Returns the devices that a hot reset of a device takes along, by their addresses.
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

    /// Returns the device at an address, by its place.
    fn place_at(&self, at: PciDependentDevice) -> Option<usize> {
        self.devices().iter().position(|device| {
            let known = lock(device).address();
            (known.segment, known.bus, known.devfn) == (at.segment, at.bus, at.devfn)
        })
    }

    /// Returns the group of the device at an address.
    fn group_at(&self, at: PciDependentDevice) -> Option<u32> {
        let device = self.device(self.place_at(at)?).ok()?;
        let group = lock(&device).address().group_id;
        Some(group)
    }

    /// Checks that all devices are there, with VFIO's driver, and owned.
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

    /// Returns how the holder of an iommufd has the device at an address.
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

/// Returns the groups that files are. `EINVAL` where one is none.
fn groups_of(files: &[File]) -> Result<Vec<u32>, Errno> {
    let group = |file: &File| match *file {
        File::Group(group) => Ok(group),
        _ => Err(Errno::EINVAL),
    };
    files.iter().map(group).collect()
}
