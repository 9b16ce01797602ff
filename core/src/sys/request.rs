//! The ioctl requests that the shim carries, sorted by the shape of their argument.
//!
//! The shape decides what the kernel may read and write, so a shim can carry each of these
//! without trusting its caller.

use super::{Errno, NoIommu};
use crate::abi::{Extension, ioctl};

/// A request that fills a structure whose first `u32`, argsz, bounds what the kernel writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum InfoRequest {
    /// `VFIO_GROUP_GET_STATUS`, on a group.
    GroupStatus,
    /// `VFIO_IOMMU_GET_INFO`, on a container.
    Iommu,
    /// `VFIO_DEVICE_GET_INFO`, on a device.
    Device,
    /// `VFIO_DEVICE_GET_REGION_INFO`, on a device.
    Region,
    /// `VFIO_DEVICE_GET_IRQ_INFO`, on a device.
    Irq,
    /// `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO`, on a device.
    PciHotReset,
}

impl InfoRequest {
    /// The request's number (linux/vfio.h), and the bytes of its structure that the kernel reads.
    #[inline]
    const fn row(self) -> (u32, usize) {
        match self {
            Self::GroupStatus => (ioctl::group::GET_STATUS, 8),
            Self::Iommu => (ioctl::container::IOMMU_GET_INFO, 16),
            Self::Device => (ioctl::device::GET_INFO, 16),
            Self::Region => (ioctl::device::GET_REGION_INFO, 32),
            Self::Irq => (ioctl::device::GET_IRQ_INFO, 16),
            // 12 on a device; a container takes the number for that of its IOMMU.
            Self::PciHotReset => (ioctl::device::GET_PCI_HOT_RESET_INFO, 16),
        }
    }

    /// The request's number.
    #[inline]
    #[must_use]
    pub const fn number(self) -> u32 {
        self.row().0
    }

    /// How many bytes of the structure the kernel reads, whatever argsz says, on every kind of
    /// VFIO file; no more than [`InfoRequest::LEAST_MAX`].
    #[inline]
    #[must_use]
    pub const fn least(self) -> usize {
        self.row().1
    }

    /// The most that [`InfoRequest::least`] says.
    pub const LEAST_MAX: usize = Self::Region.least();
}

/// A request whose argument is a plain number, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ValueRequest {
    /// `VFIO_GET_API_VERSION`, on a container; the argument is ignored.
    GetApiVersion,
    /// `VFIO_CHECK_EXTENSION`, on a container.
    CheckExtension,
    /// `VFIO_SET_IOMMU`, on a container: any but the one that is none.
    SetIommu,
    /// `VFIO_SET_IOMMU` of `VFIO_NOIOMMU_IOMMU`, on a container; the argument is ignored.
    SetNoIommu(NoIommu),
    /// `VFIO_GROUP_UNSET_CONTAINER`, on a group; the argument is ignored.
    UnsetContainer,
    /// `VFIO_DEVICE_RESET`, on a device; the argument is ignored.
    Reset,
}

impl ValueRequest {
    /// The request's number (linux/vfio.h).
    #[inline]
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::GetApiVersion => ioctl::container::GET_API_VERSION,
            Self::CheckExtension => ioctl::container::CHECK_EXTENSION,
            Self::SetIommu | Self::SetNoIommu(_) => ioctl::container::SET_IOMMU,
            Self::UnsetContainer => ioctl::group::UNSET_CONTAINER,
            Self::Reset => ioctl::device::RESET,
        }
    }

    /// The number that goes to the kernel where the caller gives `value`.
    ///
    /// # Errors
    /// `EPERM` where a container is to do without an IOMMU and nobody gave the word for it.
    #[inline]
    pub const fn argument(self, value: u32) -> Result<u32, Errno> {
        match self {
            Self::SetIommu if value == Extension::NOIOMMU_IOMMU.0 => Err(Errno::EPERM),
            Self::SetNoIommu(_) => Ok(Extension::NOIOMMU_IOMMU.0),
            Self::SetIommu
            | Self::GetApiVersion
            | Self::CheckExtension
            | Self::UnsetContainer
            | Self::Reset => Ok(value),
        }
    }
}

/// A request whose argument points at a file descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum FdRequest {
    /// `VFIO_GROUP_SET_CONTAINER`, on a group that an IOMMU confines.
    SetContainer,
    /// `VFIO_GROUP_SET_CONTAINER`, on a group that none confines.
    SetContainerNoIommu(NoIommu),
}

impl FdRequest {
    /// The request's number (linux/vfio.h).
    #[inline]
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::SetContainer | Self::SetContainerNoIommu(_) => ioctl::group::SET_CONTAINER,
        }
    }
}

/// A request whose argument is a C string and that returns a new file descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum NameRequest {
    /// `VFIO_GROUP_GET_DEVICE_FD`, on a group.
    GetDeviceFd,
}

impl NameRequest {
    /// The request's number (linux/vfio.h).
    #[inline]
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::GetDeviceFd => ioctl::group::GET_DEVICE_FD,
        }
    }
}
