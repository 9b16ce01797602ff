//! The ways to a device and to the memory that it reaches.

use core::fmt;
use std::ffi::{CStr, CString};
use std::path::Path;

use anyhow::Result;
use vfio_core::abi::Extension;
use vfio_core::container::{Container, Group};
use vfio_core::device::Device as Opened;
use vfio_core::dma::AddressSpace;
use vfio_core::iommufd::Ioas;
use vfio_core::session;
use vfio_guest::Device;
use vfio_hosted::linux::Linux;

use crate::report::NotRun;
use crate::world::{cdev, group};

/// A way to a device and to the memory that it reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Through the group, with a container of VFIO's and its driver of type 1.
    Type1,
    /// The same with version 2 of the driver.
    Type1v2,
    /// Through the group, with iommufd in the place of a container and its type 1.
    IommufdType1,
    /// The same with version 2 of type 1.
    IommufdType1v2,
    /// Through the device's own character device, with iommufd.
    Iommufd,
}

impl Mode {
    /// Every mode that a kernel can have.
    pub(crate) const ALL: [Self; 5] = [
        Self::Type1,
        Self::Type1v2,
        Self::IommufdType1,
        Self::IommufdType1v2,
        Self::Iommufd,
    ];

    /// Opens `device` in an address space of its own.
    ///
    /// # Errors
    ///
    /// A call fails; [`NotRun`] where the kernel does not have the mode.
    pub(crate) fn open(self, device: &Device) -> Result<(AddressSpace<Linux>, Opened<Linux>)> {
        let space = self.space()?;
        let opened = match &space {
            AddressSpace::Container(container) | AddressSpace::NoIommu(container) => {
                let attached = container.attach(group(device)?)?;
                container.set_iommu(self.iommu())?;
                in_group(&attached, device)?
            }
            AddressSpace::Ioas(ioas) => bound(ioas, device, Ioas::attach)?,
        };
        Ok((space, opened))
    }

    /// The mode as a session has it.
    pub(crate) const fn of_session(self) -> session::Mode {
        match self {
            Self::Type1 => session::Mode::Type1,
            Self::Type1v2 => session::Mode::Type1v2,
            Self::IommufdType1 => session::Mode::IommufdType1,
            Self::IommufdType1v2 => session::Mode::IommufdType1v2,
            Self::Iommufd => session::Mode::Iommufd,
        }
    }

    /// An address space without a device.
    ///
    /// # Errors
    ///
    /// As [`Mode::open`].
    pub(crate) fn space(self) -> Result<AddressSpace<Linux>> {
        if self.is_iommufd() && !Path::new("/dev/iommu").exists() {
            return Err(NotRun("this kernel has no /dev/iommu".into()).into());
        }
        Ok(if self == Self::Iommufd {
            AddressSpace::Ioas(Ioas::open(Linux)?)
        } else {
            AddressSpace::Container(Container::open_at(Linux, self.container())?)
        })
    }

    /// The IOMMU driver that a container is given.
    pub(crate) const fn iommu(self) -> Extension {
        match self {
            Self::Type1 | Self::IommufdType1 => Extension::TYPE1_IOMMU,
            Self::Type1v2 | Self::IommufdType1v2 | Self::Iommufd => Extension::TYPE1V2_IOMMU,
        }
    }

    /// Whether iommufd maps the memory.
    pub(crate) const fn is_iommufd(self) -> bool {
        !matches!(self, Self::Type1 | Self::Type1v2)
    }

    /// Whether a part of a mapping can be unmapped, as with the first version of type 1.
    pub(crate) const fn splits(self) -> bool {
        matches!(self, Self::Type1 | Self::IommufdType1)
    }

    const fn container(self) -> &'static CStr {
        if self.is_iommufd() {
            c"/dev/iommu"
        } else {
            c"/dev/vfio/vfio"
        }
    }
}

/// Opens a device of an attached group.
///
/// # Errors
///
/// The call fails.
pub(crate) fn in_group(group: &Group<Linux>, device: &Device) -> Result<Opened<Linux>> {
    Ok(group.device(&CString::new(device.address())?)?)
}

/// Opens a device through its character device by `open`.
///
/// # Errors
///
/// What `open` returns; [`NotRun`] where the kernel has no such character device.
pub(crate) fn bound<E: core::error::Error + Send + Sync + 'static>(
    ioas: &Ioas<Linux>,
    device: &Device,
    open: impl FnOnce(&Ioas<Linux>, &CStr) -> Result<Opened<Linux>, E>,
) -> Result<Opened<Linux>> {
    Ok(open(ioas, &CString::new(cdev(device)?)?)?)
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Type1 => "type1",
            Self::Type1v2 => "type1v2",
            Self::IommufdType1 => "iommufd as type1",
            Self::IommufdType1v2 => "iommufd as type1v2",
            Self::Iommufd => "iommufd",
        })
    }
}
