//! Parts of a register.

/// Returns the low 8 bits.
pub(super) fn low_byte(register: u32) -> u8 {
    let [byte, ..] = register.to_le_bytes();
    byte
}

/// Returns the low 16 bits.
pub(super) fn low_half(register: u32) -> u16 {
    let [a, b, ..] = register.to_le_bytes();
    u16::from_le_bytes([a, b])
}

/// Returns the high 16 bits.
pub(super) fn high_half(register: u32) -> u16 {
    let [.., a, b] = register.to_le_bytes();
    u16::from_le_bytes([a, b])
}
