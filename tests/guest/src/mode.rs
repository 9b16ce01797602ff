//! The ways to a device and to the memory that it reaches.

use std::ffi::{CStr, CString};
use std::path::Path;

use anyhow::Result;
use vfio_core::device::Device as Opened;
use vfio_core::open::AddressSpace;
pub(crate) use vfio_core::open::Mode;
use vfio_core::open::container::{Container, Group};
use vfio_core::open::iommufd::Ioas;
use vfio_guest::Device;
use vfio_hosted::linux::Linux;

use crate::report::NotRun;
use crate::world::{cdev, group};

/// The modes of a machine with an IOMMU.
pub(crate) const MODES: [Mode; 5] = [
    Mode::Type1,
    Mode::Type1v2,
    Mode::IommufdType1,
    Mode::IommufdType1v2,
    Mode::Iommufd,
];

/// A mode as the checks use it.
pub(crate) trait InGuest: Sized {
    /// Opens `device` in an address space of its own.
    ///
    /// # Errors
    ///
    /// A call fails; [`NotRun`] where the kernel does not have the mode.
    fn open(self, device: &Device) -> Result<(AddressSpace<Linux>, Opened<Linux>)>;

    /// Returns an address space without a device.
    ///
    /// # Errors
    ///
    /// As [`InGuest::open`].
    fn space(self) -> Result<AddressSpace<Linux>>;

    /// Tells whether a part of a mapping can be unmapped, as with the first version of type 1.
    fn splits(self) -> bool;
}

impl InGuest for Mode {
    fn open(self, device: &Device) -> Result<(AddressSpace<Linux>, Opened<Linux>)> {
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

    fn space(self) -> Result<AddressSpace<Linux>> {
        if self.is_iommufd() && !Path::new("/dev/iommu").exists() {
            return Err(NotRun("this kernel has no /dev/iommu".into()).into());
        }
        Ok(if self == Self::Iommufd {
            AddressSpace::Ioas(Ioas::open(Linux)?)
        } else {
            AddressSpace::Container(Container::open_at(Linux, self.container_path())?)
        })
    }

    fn splits(self) -> bool {
        matches!(self, Self::Type1 | Self::IommufdType1)
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
