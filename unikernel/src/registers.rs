//! Accesses of a width that is known only when they are made.

use vfio_core::mmio::{Access as _, Mapped};

use crate::port;

/// Returns reads, or writes the low bytes of `value`, in one access of 1, 2 or else 4 bytes at a
/// port. Returns what was read.
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

/// Returns reads, or writes the low bytes of `value`, in one access of 1, 2, 4 or 8 bytes at `at`
/// bytes of a device's. Returns what was read. Nothing, where that is none of its registers.
#[inline(never)]
#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "one of them is executed"
)]
pub(crate) fn mapped(
    device: &Mapped<'static>,
    at: usize,
    width: usize,
    value: Option<u64>,
) -> Option<u64> {
    if at & width.wrapping_sub(1) != 0 || at.checked_add(width)? > device.len() {
        return None;
    }
    let [a, b, c, d, ..] = value.unwrap_or(0).to_le_bytes();
    let at = device.origin(at);
    // SAFETY: the register lies within the device's, at a multiple of its width.
    let done = unsafe {
        match (value, width) {
            (None, 1) => device.load::<u8>(at, 0).map(u64::from),
            (None, 2) => device.load::<u16>(at, 0).map(u64::from),
            (None, 4) => device.load::<u32>(at, 0).map(u64::from),
            (None, _) => device.load::<u64>(at, 0),
            (Some(_), 1) => device.store(at, 0, a).map(|()| 0),
            (Some(_), 2) => device.store(at, 0, u16::from_le_bytes([a, b])).map(|()| 0),
            (Some(_), 4) => device
                .store(at, 0, u32::from_le_bytes([a, b, c, d]))
                .map(|()| 0),
            (Some(value), _) => device.store(at, 0, value).map(|()| 0),
        }
    };
    done.ok()
}
