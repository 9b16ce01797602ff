//! The widths of registers.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::raw::Raw;

/// A width that a register can have: 8, 16, 32 or 64 bits.
///
/// An access of 64 bits is two of 32 on a processor of 32 bits, the low half first, and where a
/// kernel traps it and splits it up. A driver to which that matters reaches the halves itself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no width of a register",
    note = "a register is a `u8`, `u16`, `u32` or `u64`"
)]
pub trait Width: Raw + Copy + FromBytes + IntoBytes + Immutable + 'static {
    /// The base-2 logarithm of the size in bytes.
    const SHIFT: u32;

    /// Converts little-endian memory that was loaded as it is.
    #[must_use]
    fn from_device(raw: Self) -> Self;

    /// Converts a value to little-endian memory.
    #[must_use]
    fn to_device(self) -> Self;

    /// Returns the low bits of a number.
    #[must_use]
    fn truncate(value: u64) -> Self;

    /// Returns the number.
    #[must_use]
    fn widen(self) -> u64;
}

macro_rules! width {
    ($($type:ty: $shift:literal;)*) => {
        $(
            impl Width for $type {
                const SHIFT: u32 = $shift;

                #[inline]
                fn from_device(raw: Self) -> Self {
                    Self::from_le(raw)
                }

                #[inline]
                fn to_device(self) -> Self {
                    self.to_le()
                }

                #[inline]
                #[cfg_attr(
                    not(test),
                    expect(clippy::as_conversions, reason = "the high bits are to be dropped")
                )]
                fn truncate(value: u64) -> Self {
                    value as Self
                }

                #[inline]
                fn widen(self) -> u64 {
                    self.into()
                }
            }
        )*
    };
}

width! {
    u8: 0;
    u16: 1;
    u32: 2;
    u64: 3;
}
