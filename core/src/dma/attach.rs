//! Another device in an address space that is there.

use core::fmt;

use super::{Dma, DmaError};
use crate::device::Device;
use crate::open::{Place, SessionError};
use crate::sys::Sys;

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
