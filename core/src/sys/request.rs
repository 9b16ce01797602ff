//! The ioctl requests that the shim carries, sorted by the shape of their argument.
//!
//! The shape decides what the kernel may read and write, so a shim can carry each of these
//! without trusting its caller.

use super::{Errno, NoIommu};
use crate::wire::abi::{Extension, ioctl};

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
    /// Returns the request's number (linux/vfio.h).
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

    /// Returns the number that goes to the kernel where the caller gives `value`.
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
    /// Returns the request's number (linux/vfio.h).
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
    /// Returns the request's number (linux/vfio.h).
    #[inline]
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::GetDeviceFd => ioctl::group::GET_DEVICE_FD,
        }
    }
}
