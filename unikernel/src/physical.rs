//! What the firmware and the hypervisor left in memory.

use crate::acpi::Physical;
use crate::paging::{self, Kind, MapError};

/// The bytes at addresses of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine;

impl Physical for Machine {
    fn bytes(&self, address: u64, len: usize) -> Option<&'static [u8]> {
        bytes(address, len).ok().flatten()
    }
}

/// Returns the `len` bytes at `address`. None where some are the image's own, or at address 0.
///
/// # Errors
/// [`MapError`]
pub(crate) fn bytes(address: u64, len: usize) -> Result<Option<&'static [u8]>, MapError> {
    let end = address.saturating_add(crate::wide(len));
    let image = paging::image();
    if address == 0 || address < image.end && image.start < end {
        return Ok(None);
    }
    paging::map(address..end, Kind::Memory)?;
    let Ok(start) = usize::try_from(address) else {
        return Ok(None);
    };
    let base = core::ptr::with_exposed_provenance(start);
    // SAFETY: the bytes are mapped for ever. They are none of the image's, so that nothing of
    // Rust's is there, and nothing writes there: tables of the firmware, and what the hypervisor
    // tells at the start.
    Ok(Some(unsafe { core::slice::from_raw_parts(base, len) }))
}
