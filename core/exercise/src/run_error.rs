//! Why a device could not even be tried.

use core::fmt;

use vfio_core::dma::DmaError;
use vfio_core::pci::BringUpError;

/// Why a device could not even be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RunError {
    /// Its registers can't be reached.
    BringUp(BringUpError),
    /// Its address space can't be used.
    Dma(DmaError),
}

impl From<BringUpError> for RunError {
    fn from(error: BringUpError) -> Self {
        Self::BringUp(error)
    }
}

impl From<DmaError> for RunError {
    fn from(error: DmaError) -> Self {
        Self::Dma(error)
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BringUp(error) => error.fmt(f),
            Self::Dma(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for RunError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::BringUp(error) => Some(error),
            Self::Dma(error) => Some(error),
        }
    }
}
