//! Why a virtio device could not even be tried.

use core::fmt;

use vfio_core::dma::DmaError;
use vfio_drivers::virtio::OpenError;

/// Why a virtio device could not even be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum VirtioRunError {
    /// Its address space can't be used.
    Dma(DmaError),
    /// It is no virtio device, or its structures can't be reached.
    Open(OpenError),
}

impl From<DmaError> for VirtioRunError {
    fn from(error: DmaError) -> Self {
        Self::Dma(error)
    }
}

impl From<OpenError> for VirtioRunError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl fmt::Display for VirtioRunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dma(error) => error.fmt(f),
            Self::Open(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for VirtioRunError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Dma(error) => Some(error),
            Self::Open(error) => Some(error),
        }
    }
}
