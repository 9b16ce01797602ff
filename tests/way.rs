//! The ways to a device and to the memory that it reaches.

use core::fmt;
use std::ffi::CString;

use vfio_core::abi::Extension;
use vfio_core::container::{Container, OpenError};
use vfio_core::device::Device;
use vfio_core::dma::AddressSpace;
use vfio_core::iommufd::{Ioas, IommufdError};
use vfio_core::sys::Sys;

/// A way to a device and to the memory that it reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Through the group, with a container of VFIO's or iommufd's and its type 1 of a version.
    Group {
        /// Whether iommufd stands in the place of the container.
        is_iommufd: bool,
        /// The IOMMU driver that the container is given.
        iommu: Extension,
    },
    /// Through the device's own character device, with iommufd.
    Cdev,
}

/// How a device is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name in its group, such as the address of a PCI device.
    pub name: CString,
    /// The number of its IOMMU group.
    pub group: u32,
    /// The path of its own character device.
    pub cdev: CString,
}

/// Why a device could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayError {
    /// Through its group.
    Group(OpenError),
    /// By itself.
    Cdev(IommufdError),
}

impl Way {
    /// All ways.
    pub const ALL: [Self; 5] = [
        Self::group(false, Extension::TYPE1_IOMMU),
        Self::group(false, Extension::TYPE1V2_IOMMU),
        Self::group(true, Extension::TYPE1_IOMMU),
        Self::group(true, Extension::TYPE1V2_IOMMU),
        Self::Cdev,
    ];

    const fn group(is_iommufd: bool, iommu: Extension) -> Self {
        Self::Group { is_iommufd, iommu }
    }

    /// Whether the container is VFIO's own, of version 2: that one tracks dirty pages.
    #[must_use]
    pub fn tracks(self) -> bool {
        self == Self::group(false, Extension::TYPE1V2_IOMMU)
    }

    /// An address space without a device.
    ///
    /// # Errors
    /// What a call returns.
    pub fn space<S: Sys + Clone>(self, sys: &S) -> Result<AddressSpace<S>, WayError> {
        Ok(match self {
            Self::Group { is_iommufd, .. } => {
                let path = if is_iommufd {
                    c"/dev/iommu"
                } else {
                    c"/dev/vfio/vfio"
                };
                AddressSpace::Container(Container::open_at(sys.clone(), path)?)
            }
            Self::Cdev => AddressSpace::Ioas(Ioas::open(sys.clone())?),
        })
    }

    /// Opens a device in an address space; the first in a container of VFIO's gives it its IOMMU
    /// driver.
    ///
    /// # Errors
    /// What a call returns.
    pub fn device<S: Sys + Clone>(
        self,
        space: &AddressSpace<S>,
        place: &Place,
        is_first: bool,
    ) -> Result<Device<S>, WayError> {
        match space {
            AddressSpace::Container(container) => {
                let group = container.attach(place.group)?;
                if let Self::Group { iommu, .. } = self
                    && is_first
                {
                    container.set_iommu(iommu)?;
                }
                Ok(group.device(&place.name)?)
            }
            AddressSpace::Ioas(ioas) => Ok(ioas.attach(&place.cdev)?),
        }
    }

    /// Opens a device in an address space of its own.
    ///
    /// # Errors
    /// What a call returns.
    pub fn open<S: Sys + Clone>(
        self,
        sys: &S,
        place: &Place,
    ) -> Result<(AddressSpace<S>, Device<S>), WayError> {
        let space = self.space(sys)?;
        let device = self.device(&space, place, true)?;
        Ok((space, device))
    }
}

impl From<OpenError> for WayError {
    fn from(error: OpenError) -> Self {
        Self::Group(error)
    }
}

impl From<IommufdError> for WayError {
    fn from(error: IommufdError) -> Self {
        Self::Cdev(error)
    }
}

impl fmt::Display for WayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(error) => error.fmt(f),
            Self::Cdev(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for WayError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Group(error) => error.source(),
            Self::Cdev(error) => error.source(),
        }
    }
}
