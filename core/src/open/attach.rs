//! Another device in an address space that is there.

use super::{AddressSpace, Mode, Place, SessionError};
use crate::device::Device;
use crate::open::container::{Container, Group};
use crate::open::iommufd::{Ioas, IommufdError};
use crate::sys::{NoIommu, Sys};

impl<S: Sys + Clone> AddressSpace<S> {
    /// Opens the device at `place`, and attaches it: it reaches what is mapped here, as the others
    /// do. [`Dma::attach`](crate::dma::Dma::attach) also learns which addresses are left.
    ///
    /// Through groups it must be of another group than the others: a group is opened once.
    ///
    /// # Errors
    /// [`SessionError`]: where the device's IOMMU can't map what is mapped, the kernel refuses it.
    pub fn attach(&self, place: &Place<'_>) -> Result<Device<S>, SessionError> {
        match self {
            Self::Ioas(ioas) => through_cdev(ioas, place),
            Self::Container(container) => through_group(container, place, None),
            Self::NoIommu(container) => {
                let word = place.noiommu.ok_or(SessionError::NoIommu)?;
                through_group(container, place, Some(word))
            }
        }
    }
}

/// Opens a device through its character device, and attaches it.
pub(super) fn through_cdev<S: Sys + Clone>(
    ioas: &Ioas<S>,
    place: &Place<'_>,
) -> Result<Device<S>, SessionError> {
    let path = place.cdev.ok_or(SessionError::NoCdev)?;
    let device = match place.token {
        Some(token) => ioas.bind_with_token(path, token),
        None => ioas.bind(path),
    }?;
    ioas.attach_device(&device).map_err(IommufdError::Attach)?;
    Ok(device)
}

/// Opens a device through its group, in a container that has its IOMMU.
fn through_group<S: Sys + Clone>(
    container: &Container<S>,
    place: &Place<'_>,
    noiommu: Option<NoIommu>,
) -> Result<Device<S>, SessionError> {
    let number = place.group.ok_or(SessionError::NoGroup)?;
    of_group(&container.attach_to(number, noiommu)?, place)
}

/// Opens a device through its group, in a container that is given the IOMMU of `mode`.
pub(super) fn in_mode<S: Sys + Clone>(
    mode: Mode,
    container: &Container<S>,
    place: &Place<'_>,
    noiommu: Option<NoIommu>,
) -> Result<Device<S>, SessionError> {
    let number = place.group.ok_or(SessionError::NoGroup)?;
    let group = container.attach_to(number, noiommu)?;
    container.set(mode.iommu(), noiommu)?;
    of_group(&group, place)
}

fn of_group<S: Sys + Clone>(
    group: &Group<S>,
    place: &Place<'_>,
) -> Result<Device<S>, SessionError> {
    Ok(match place.token {
        Some(token) => group.device_with_token(place.name, token),
        None => group.device(place.name),
    }?)
}
