//! I/O ports.

use x86_64::instructions::port::{PortReadOnly, PortWriteOnly};
use x86_64::structures::port::{PortRead, PortWrite};

/// Reads from a port.
///
/// What it does to a device is for the caller to know; no port makes the processor touch memory.
#[inline]
pub(crate) fn read<T: PortRead>(port: u16) -> T {
    let mut port = PortReadOnly::<T>::new(port);
    // SAFETY: the image has the machine for itself, and a port is read by one instruction. What
    // starts DMA is told to by its driver, which got the memory from this crate.
    unsafe { port.read() }
}

/// Writes to a port.
///
/// As for [`read`].
#[inline]
pub(crate) fn write<T: PortWrite>(port: u16, value: T) {
    let mut port = PortWriteOnly::<T>::new(port);
    // SAFETY: as in `read`.
    unsafe { port.write(value) }
}
