//! Tries the whole driver on an open device.

use vfio_core::device::region::WholeError;
use vfio_core::dma::Dma;
use vfio_core::mmio::Access;
use vfio_core::open::Session;
use vfio_core::sys::Sys;
use vfio_drivers::virtio::PciTransport;

use super::{Peer, Report, exercise};
use crate::VirtioRunError;

/// How many buffers and ranges of addresses there can be: each of two pairs of queues has four
/// buffers, and the control queue has two.
const RANGES: usize = 32;

/// Brings the device up and tries every step ([`exercise`]), in whichever world `sys` is.
///
/// # Errors
/// [`VirtioRunError`]; how a step went is in the report.
#[inline(never)]
pub fn run<S: Sys>(
    sys: S,
    session: Session<S>,
    peer: Peer,
) -> Result<Report<WholeError<<S::Mapping as Access>::Error>>, VirtioRunError> {
    let Session { device, space, .. } = session;
    let dma = Dma::<_, RANGES>::new(sys, space)?;
    let transport = PciTransport::open(&device, &dma)?;
    Ok(exercise(&device, transport, peer))
}
