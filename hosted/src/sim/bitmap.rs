//! Bitmaps of pages, in words of the host.

/// Bits of a word of a bitmap.
pub(in crate::sim) const WORD: u64 = 64;

/// Clears the bits from `bit` on, up to the end of the word in which the last of `count` lies.
pub(in crate::sim) fn clear_from(bitmap: &mut [u8], bit: u64, count: u64) {
    let end = bit.saturating_add(count).next_multiple_of(WORD);
    for at in bit..end {
        if let Some((byte, mask)) = byte_of(bitmap, at) {
            *byte &= !mask;
        }
    }
}

/// Sets `count` bits from `bit` on.
pub(in crate::sim) fn set_bits(bitmap: &mut [u8], bit: u64, count: u64) {
    for at in bit..bit.saturating_add(count) {
        if let Some((byte, mask)) = byte_of(bitmap, at) {
            *byte |= mask;
        }
    }
}

/// Returns the byte that holds a bit, in words of the host's byte order, and the bit.
fn byte_of(bitmap: &mut [u8], bit: u64) -> Option<(&mut u8, u8)> {
    let index = usize::try_from(bit / 8).ok()?;
    let index = if cfg!(target_endian = "big") {
        index ^ 7
    } else {
        index
    };
    let byte = bitmap.get_mut(index)?;
    Some((byte, 1_u8.checked_shl(u32::try_from(bit % 8).ok()?)?))
}
