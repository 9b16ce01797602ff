//! The whole driver on an open device.

use core::fmt;

use vfio_core::abi::pci_region;
use vfio_core::dma::{Dma, DmaError};
use vfio_core::mmio::Access;
use vfio_core::pci::BringUpError;
use vfio_core::session::Session;
use vfio_core::sys::Sys;

use super::{Report, exercise};

/// Why the device could not even be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RunError {
    /// Its registers can't be reached.
    BringUp(BringUpError),
    /// Its address space can't be used.
    Dma(DmaError),
}

/// How many stretches of free addresses are kept apart: no more than two buffers are mapped at a
/// time, in an address space with a hole or two.
const RANGES: usize = 16;

/// Brings the device up and tries every step ([`exercise`]), in whichever world `sys` is.
///
/// # Errors
/// [`RunError`]; how a step went is in the report.
#[inline(never)]
pub fn run<S: Sys>(
    sys: S,
    session: Session<S>,
) -> Result<Report<<S::Mapping as Access>::Error>, RunError> {
    let Session { device, space, .. } = session;
    let bar0 = device
        .bring_up(pci_region::BAR0)
        .map_err(RunError::BringUp)?;
    let dma = Dma::<_, RANGES>::new(sys, space).map_err(RunError::Dma)?;
    Ok(exercise(&device, bar0, &dma))
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
