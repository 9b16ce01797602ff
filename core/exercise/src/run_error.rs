//! Why a device could not even be tried.

use core::fmt;

use vfio_core::dma::DmaError;
use vfio_core::pci::BringUpError;
use vfio_drivers::virtio::OpenError;

/// Why a device could not even be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RunError {
    /// Its registers can't be reached.
    BringUp(BringUpError),
    /// Its address space can't be used.
    Dma(DmaError),
    /// It is no virtio device, or its structures can't be reached.
    Open(OpenError),
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

impl From<OpenError> for RunError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BringUp(error) => error.fmt(f),
            Self::Dma(error) => error.fmt(f),
            Self::Open(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for RunError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::BringUp(error) => Some(error),
            Self::Dma(error) => Some(error),
            Self::Open(error) => Some(error),
        }
    }
}
