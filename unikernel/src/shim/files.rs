//! What containers, groups and devices owe to each other (drivers/vfio/container.c and group.c of
//! Linux, for devices without an IOMMU).

use vfio_core::sys::Errno;
use vfio_core::wire::abi::{Extension, GroupFlags};

/// `EBADFD`: the file descriptor is of another kind.
const EBADFD: Errno = Errno(77);

/// An open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum File {
    /// A container, by its place.
    Container(u8),
    /// A group, by its number.
    Group(u8),
    /// A device, by the number of its group.
    Device(u8),
}

/// What closing a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Released {
    /// Nothing else.
    File,
    /// The device of this group is open no more.
    Device(u8),
}

/// How many containers there can be.
const CONTAINERS_MOST: usize = 4;
/// How many groups there can be.
const GROUPS_MOST: usize = crate::pci::FUNCTIONS_MOST;

/// All that is open, and what it is attached to.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Files {
    containers: [Container; CONTAINERS_MOST],
    groups: [Group; GROUPS_MOST],
}

/// A container is there for as long as its file is open or a group is in it.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Container {
    is_open: bool,
    has_iommu: bool,
    groups: u8,
}

/// A group is in use for as long as its file or its device is open.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Group {
    is_open: bool,
    devices: u8,
    container: Option<u8>,
}

impl Container {
    const NONE: Self = Self {
        is_open: false,
        has_iommu: false,
        groups: 0,
    };
}

impl Group {
    const UNUSED: Self = Self {
        is_open: false,
        devices: 0,
        container: None,
    };
}

impl Files {
    /// Creates a table in which nothing is open.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            containers: [Container::NONE; CONTAINERS_MOST],
            groups: [Group::UNUSED; GROUPS_MOST],
        }
    }

    /// Returns how many files are open.
    #[must_use]
    pub fn open(&self) -> usize {
        let containers = self
            .containers
            .iter()
            .map(|container| container.is_open.into());
        let groups = self
            .groups
            .iter()
            .map(|group| usize::from(group.is_open).saturating_add(group.devices.into()));
        containers.chain(groups).sum()
    }

    /// Opens a container.
    ///
    /// # Errors
    /// `EMFILE` where no more can be open.
    pub fn open_container(&mut self) -> Result<File, Errno> {
        let is_free = |container: &Container| !container.is_open && container.groups == 0;
        let place = self.containers.iter().position(is_free);
        let place = place
            .and_then(|place| u8::try_from(place).ok())
            .ok_or(Errno::EMFILE)?;
        if let Some(container) = self.containers.get_mut(usize::from(place)) {
            *container = Container {
                is_open: true,
                ..Container::NONE
            };
        }
        Ok(File::Container(place))
    }

    /// Opens a group, which only one file at a time can be.
    ///
    /// # Errors
    /// `EBUSY` where it is in use.
    pub fn open_group(&mut self, group: u8) -> Result<File, Errno> {
        let state = self.groups.get_mut(usize::from(group));
        let state = state.ok_or(Errno::ENOENT)?;
        if state.is_open || state.devices != 0 {
            return Err(Errno::EBUSY);
        }
        state.is_open = true;
        Ok(File::Group(group))
    }

    /// Answers `VFIO_GROUP_GET_STATUS` of a group.
    #[must_use]
    pub fn group_flags(&self, group: u8) -> GroupFlags {
        match self
            .groups
            .get(usize::from(group))
            .and_then(|group| group.container)
        {
            Some(_) => GroupFlags::VIABLE | GroupFlags::CONTAINER_SET,
            None => GroupFlags::VIABLE,
        }
    }

    /// Attaches a group to a container.
    ///
    /// # Errors
    /// `EINVAL` where it is attached already, `EBADFD` for a file that is no container.
    pub fn set_container(&mut self, group: u8, file: File) -> Result<(), Errno> {
        if self.group(group)?.container.is_some() {
            return Err(Errno::EINVAL);
        }
        let File::Container(place) = file else {
            return Err(EBADFD);
        };
        let container = self.containers.get_mut(usize::from(place)).ok_or(EBADFD)?;
        container.groups = container.groups.saturating_add(1);
        self.group(group)?.container = Some(place);
        Ok(())
    }

    /// Detaches a group from its container.
    ///
    /// # Errors
    /// `EINVAL` where it is not attached, `EBUSY` where its device is open.
    pub fn unset_container(&mut self, group: u8) -> Result<(), Errno> {
        let state = *self.group(group)?;
        match state.container {
            None => Err(Errno::EINVAL),
            Some(_) if state.devices != 0 => Err(Errno::EBUSY),
            Some(_) => {
                self.detach(group);
                Ok(())
            }
        }
    }

    /// Tells whether a container has an extension: 1 or 0.
    #[must_use]
    pub const fn check_extension(value: u32) -> u32 {
        if value == Extension::NOIOMMU_IOMMU.0 {
            1
        } else {
            0
        }
    }

    /// Gives a container its IOMMU driver.
    ///
    /// # Errors
    /// `EINVAL` where it has one or no group is in it, `ENODEV` for another one than none.
    pub fn set_iommu(&mut self, place: u8, value: u32) -> Result<(), Errno> {
        let container = self
            .containers
            .get_mut(usize::from(place))
            .ok_or(Errno::EBADF)?;
        if container.groups == 0 || container.has_iommu {
            return Err(Errno::EINVAL);
        }
        if value != Extension::NOIOMMU_IOMMU.0 {
            return Err(Errno::ENODEV);
        }
        container.has_iommu = true;
        Ok(())
    }

    /// Returns the error of a request that a file does not know: a container has that of its IOMMU
    /// driver, or of having none.
    #[must_use]
    #[inline(never)]
    pub fn unknown_to(&self, file: File) -> Errno {
        match file {
            File::Container(place) => match self.containers.get(usize::from(place)) {
                Some(container) if container.has_iommu => Errno::ENOTTY,
                _ => Errno::EINVAL,
            },
            File::Group(_) | File::Device(_) => Errno::ENOTTY,
        }
    }

    /// Tells whether the device of a group may be opened. Tells whether it is open already.
    ///
    /// # Errors
    /// `EINVAL` where the group is in no container with an IOMMU driver.
    pub fn may_open_device(&self, group: u8) -> Result<bool, Errno> {
        let state = self.groups.get(usize::from(group)).ok_or(Errno::ENODEV)?;
        let container = state
            .container
            .and_then(|place| self.containers.get(usize::from(place)));
        match container {
            Some(container) if container.has_iommu => Ok(state.devices != 0),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Opens the device of a group.
    ///
    /// # Errors
    /// As [`Files::may_open_device`]; `EMFILE` where it can't be open more often.
    pub fn open_device(&mut self, group: u8) -> Result<File, Errno> {
        self.may_open_device(group)?;
        let state = self.group(group)?;
        state.devices = state.devices.checked_add(1).ok_or(Errno::EMFILE)?;
        Ok(File::Device(group))
    }

    /// Closes a file that is open.
    pub fn close(&mut self, file: File) -> Released {
        let group = match file {
            File::Container(place) => {
                if let Some(container) = self.containers.get_mut(usize::from(place)) {
                    container.is_open = false;
                }
                return Released::File;
            }
            File::Group(group) | File::Device(group) => group,
        };
        let Ok(state) = self.group(group) else {
            return Released::File;
        };
        let mut released = Released::File;
        if let File::Device(_) = file {
            state.devices = state.devices.saturating_sub(1);
            if state.devices == 0 {
                released = Released::Device(group);
            }
        } else {
            state.is_open = false;
        }
        // A group that is in use no more leaves its container.
        if !state.is_open && state.devices == 0 {
            self.detach(group);
        }
        released
    }

    fn group(&mut self, group: u8) -> Result<&mut Group, Errno> {
        self.groups.get_mut(usize::from(group)).ok_or(Errno::ENODEV)
    }

    fn detach(&mut self, group: u8) {
        let place = self
            .group(group)
            .ok()
            .and_then(|state| state.container.take());
        let container = place.and_then(|place| self.containers.get_mut(usize::from(place)));
        if let Some(container) = container {
            container.groups = container.groups.saturating_sub(1);
            if container.groups == 0 {
                container.has_iommu = false;
            }
        }
    }
}

impl Default for Files {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOIOMMU: u32 = Extension::NOIOMMU_IOMMU.0;

    #[test]
    fn a_device_opens_in_linux_s_order_alone() {
        let mut files = Files::new();
        let group = files.open_group(2).unwrap();
        assert_eq!(files.open_group(2), Err(Errno::EBUSY));
        assert_eq!(files.open_device(2), Err(Errno::EINVAL));
        let container = files.open_container().unwrap();
        let File::Container(place) = container else {
            panic!()
        };
        assert_eq!(files.set_iommu(place, NOIOMMU), Err(Errno::EINVAL));
        assert_eq!(files.set_container(2, File::Group(2)), Err(EBADFD));
        files.set_container(2, File::Container(place)).unwrap();
        assert_eq!(
            files.set_container(2, File::Container(place)),
            Err(Errno::EINVAL)
        );
        assert_eq!(files.unknown_to(File::Container(place)), Errno::EINVAL);
        assert_eq!(
            files.set_iommu(place, Extension::TYPE1_IOMMU.0),
            Err(Errno::ENODEV)
        );
        assert_eq!(files.open_device(2), Err(Errno::EINVAL));
        files.set_iommu(place, NOIOMMU).unwrap();
        assert_eq!(files.unknown_to(File::Container(place)), Errno::ENOTTY);
        assert_eq!(files.may_open_device(2), Ok(false));
        let device = files.open_device(2).unwrap();
        assert_eq!(files.may_open_device(2), Ok(true));
        assert_eq!(files.unset_container(2), Err(Errno::EBUSY));
        assert!(files.group_flags(2).contains(GroupFlags::CONTAINER_SET));

        // In any order: the kernel keeps what a device needs.
        assert_eq!(files.close(container), Released::File);
        assert_eq!(files.close(group), Released::File);
        assert_eq!(files.open_group(2), Err(Errno::EBUSY));
        assert_eq!(files.close(device), Released::Device(2));
        assert_eq!(files.open(), 0);
        assert_eq!(files.group_flags(2), GroupFlags::VIABLE);
    }

    #[test]
    fn what_is_closed_can_be_opened_again() {
        let mut files = Files::new();
        for _ in 0..100 {
            let container = files.open_container().unwrap();
            let group = files.open_group(0).unwrap();
            files.set_container(0, container).unwrap();
            files.close(container);
            files.close(group);
        }
        let all: std::vec::Vec<_> = (0..5).map(|_| files.open_container()).collect();
        assert_eq!(all.last(), Some(&Err(Errno::EMFILE)));
    }
}
