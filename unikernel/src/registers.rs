//! Accesses of a width that is known only when they are made.

use vfio_core::mmio::{Mapped, Window};

use crate::port;

/// Reads, or writes the low bytes of `value`, in one access of 1, 2 or else 4 bytes at a port;
/// what was read.
#[inline(never)]
pub(crate) fn port(port: u16, width: usize, value: Option<u64>) -> u64 {
    let Some([a, b, c, d, ..]) = value.map(u64::to_le_bytes) else {
        return match width {
            1 => port::read::<u8>(port).into(),
            2 => port::read::<u16>(port).into(),
            _ => port::read::<u32>(port).into(),
        };
    };
    match width {
        1 => port::write(port, a),
        2 => port::write(port, u16::from_le_bytes([a, b])),
        _ => port::write(port, u32::from_le_bytes([a, b, c, d])),
    }
    0
}

/// Reads, or writes the low bytes of `value`, in one access of 1, 2, 4 or else 8 bytes at `at`
/// bytes of a window; what was read. Nothing, where that is not a register of the window.
#[inline(never)]
pub(crate) fn mapped(
    mut window: Window<Mapped<'static>>,
    at: usize,
    width: usize,
    value: Option<u64>,
) -> Option<u64> {
    let done = match (width, value.map(u64::to_le_bytes)) {
        (1, None) => window.read::<u8>(at).map(u64::from),
        (2, None) => window.read::<u16>(at).map(u64::from),
        (4, None) => window.read::<u32>(at).map(u64::from),
        (_, None) => window.read::<u64>(at),
        (1, Some([a, ..])) => window.write(at, a).map(|()| 0),
        (2, Some([a, b, ..])) => window.write(at, u16::from_le_bytes([a, b])).map(|()| 0),
        (4, Some([a, b, c, d, ..])) => window
            .write(at, u32::from_le_bytes([a, b, c, d]))
            .map(|()| 0),
        (_, Some(bytes)) => window.write(at, u64::from_le_bytes(bytes)).map(|()| 0),
    };
    done.ok()
}
