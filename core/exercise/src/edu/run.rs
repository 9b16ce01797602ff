//! Tries the whole driver on an open device.

use vfio_core::dma::Dma;
use vfio_core::mmio::Access;
use vfio_core::open::Session;
use vfio_core::sys::Sys;
use vfio_core::wire::abi::pci_region;

use super::{Report, exercise};
use crate::RunError;

/// How many buffers and ranges of addresses there can be: no more than two buffers are mapped at a
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
    let bar0 = device.bring_up(pci_region::BAR0)?;
    let dma = Dma::<_, RANGES>::new(sys, space)?;
    Ok(exercise(&device, bar0, &dma))
}
