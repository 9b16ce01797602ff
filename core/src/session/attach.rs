//! Another device in an address space that is there.

use core::fmt;

use super::{Mode, Place, SessionError};
use crate::container::{Container, Group};
use crate::device::Device;
use crate::dma::{AddressSpace, Dma, DmaError};
use crate::iommufd::{Ioas, IommufdError};
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

impl<S: Sys + Clone, const N: usize> Dma<S, N> {
    /// Opens another device in this address space: buffers are at the same addresses for it.
    ///
    /// What its IOMMU can't map is not given out any more.
    ///
    /// # Errors
    /// [`AttachError`]; the device is closed then.
    pub fn attach(&self, place: &Place<'_>) -> Result<Device<S>, AttachError> {
        let device = self.space().attach(place).map_err(AttachError::Session)?;
        self.narrow().map_err(AttachError::Dma)?;
        Ok(device)
    }
}

/// Why a device could not join an address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum AttachError {
    /// It can't be opened, or not attached.
    Session(SessionError),
    /// The addresses that are left are not told, or a buffer has others.
    Dma(DmaError),
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(error) => error.fmt(f),
            Self::Dma(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for AttachError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        // They speak for themselves above.
        match self {
            Self::Session(error) => error.source(),
            Self::Dma(error) => error.source(),
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
