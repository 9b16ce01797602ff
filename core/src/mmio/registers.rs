//! Declarations of registers.

#![forbid(unsafe_code)]

use core::fmt;
use core::marker::PhantomData;

use super::field::{Layout, Register};

/// The layout of a block of registers, as [`registers!`](crate::registers) declares it.
///
/// Nothing rests on it that is not checked: a [`Field`] lies within the size and has no stricter
/// alignment, and so has a [`Block`](super::Block) in its window.
#[diagnostic::on_unimplemented(
    message = "`{Self}` declares no registers",
    note = "declare the registers of a block with `vfio_core::registers!`"
)]
pub trait Registers {
    /// Bytes of the block.
    const SIZE: usize;
    /// What its place is a multiple of, in bytes: the width of its widest register.
    const ALIGN: usize;
}

/// The place of a register of the kind `C`, or of an array of them, in the block `R`.
pub struct Field<R, C> {
    offset: usize,
    // One block is not taken for another, which could be a subtype of it.
    place: PhantomData<fn(R) -> (R, C)>,
}

/// A register that has no place in its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum FieldError {
    /// Its offset is not a multiple of its width.
    Misaligned,
    /// It is wider than the block is aligned.
    TooWide,
    /// It does not lie within the block.
    Outside,
}

impl<R: Registers, C: Layout> Field<R, C> {
    /// Describes the register at `offset` (bytes).
    ///
    /// # Errors
    /// [`FieldError`] where it does not lie in the block, at a multiple of its width.
    pub const fn at(offset: usize) -> Result<Self, FieldError> {
        if !offset.is_multiple_of(C::WIDTH) {
            return Err(FieldError::Misaligned);
        }
        if !R::ALIGN.is_multiple_of(C::WIDTH) {
            return Err(FieldError::TooWide);
        }
        match offset.checked_add(C::SIZE) {
            Some(end) if end <= R::SIZE => Ok(Self {
                offset,
                place: PhantomData,
            }),
            _ => Err(FieldError::Outside),
        }
    }
}

impl<R, C> Field<R, C> {
    /// Returns where the register lies in the block, in bytes.
    #[inline]
    #[must_use]
    pub const fn offset(self) -> usize {
        self.offset
    }
}

impl<R, C: Register, const N: usize> Field<R, [C; N]> {
    /// Returns the register at `index`, if there is one.
    #[inline]
    #[must_use]
    pub const fn get(self, index: usize) -> Option<Field<R, C>> {
        if index >= N {
            return None;
        }
        // All of them lie in the block: nothing overflows.
        Some(Field {
            offset: self.offset.wrapping_add(index.wrapping_mul(C::WIDTH)),
            place: PhantomData,
        })
    }
}

impl<R, C> Clone for Field<R, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, C> Copy for Field<R, C> {}

impl<R, C> fmt::Debug for Field<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field({:#x})", self.offset)
    }
}

#[cfg(feature = "defmt")]
impl<R, C> defmt::Format for Field<R, C> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Field({:#x})", self.offset);
    }
}

impl FieldError {
    /// Says what is wrong.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Misaligned => "the offset of the register is not a multiple of its width",
            Self::TooWide => "the register is wider than its block is aligned",
            Self::Outside => "the register does not lie within its block",
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl core::error::Error for FieldError {}

/// Where a declared register lies, and what can be done with it.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    start: usize,
    end: usize,
    width: usize,
    is_read: bool,
    is_written: bool,
}

impl Declared {
    /// Describes the register at `offset` (bytes).
    #[must_use]
    pub const fn new<C: Layout>(offset: usize) -> Self {
        Self {
            start: offset,
            end: offset.saturating_add(C::SIZE),
            width: C::WIDTH,
            is_read: C::IS_READ,
            is_written: C::IS_WRITTEN,
        }
    }

    /// Returns the width of the widest register, in bytes.
    #[must_use]
    pub const fn widest(mut declared: &[Self]) -> usize {
        let mut widest = 1;
        while let [first, rest @ ..] = declared {
            if first.width > widest {
                widest = first.width;
            }
            declared = rest;
        }
        widest
    }

    /// Returns the index of the first register that lies before or on an earlier one.
    #[must_use]
    pub const fn out_of_order(declared: &[Self]) -> Option<usize> {
        let [first, rest @ ..] = declared else {
            return None;
        };
        let (mut last, mut end, mut rest, mut index) = (first, first.end, rest, 1_usize);
        while let [next, others @ ..] = rest {
            if next.start < end && !last.shares_its_place_with(next) {
                return Some(index);
            }
            if next.end > end {
                end = next.end;
            }
            (last, rest, index) = (next, others, index.wrapping_add(1));
        }
        None
    }

    /// Tells whether one of the two is only read and the other only written, at the same offset.
    const fn shares_its_place_with(&self, other: &Self) -> bool {
        let at_once = self.is_read && other.is_read || self.is_written && other.is_written;
        self.start == other.start && self.end == other.end && !at_once
    }
}

/// Declares blocks of registers: their layout, checked when the driver is compiled, and what may
/// be done with each register.
///
/// A block has a size in bytes, and registers at rising offsets, each of one of the kinds of
/// [`mmio::field`](crate::mmio::field), or an array of them. A register that is only read and one
/// that is only written may have the same offset. What is not declared can't be reached.
///
/// It becomes a type that is never made and implements [`Registers`](crate::mmio::Registers), with
/// a constant [`Field`](crate::mmio::Field) for each register, of the visibility of the block and
/// with its offset and width in its documentation.
///
/// ```
/// use vfio_core::mmio::field::{ReadOnly, ReadPure, WriteOnly};
/// use vfio_core::mmio::{Access, Block};
/// use vfio_core::registers;
///
/// registers! {
///     /// A serial port.
///     pub struct Uart: 0x20 {
///         /// What was received.
///         0x00 received: ReadOnly<u8>,
///         /// What is to be sent.
///         0x00 send: WriteOnly<u8>,
///         /// The state of each line.
///         0x10 lines: [ReadPure<u32>; 4],
///     }
/// }
///
/// fn echo<A: Access>(uart: &mut Block<A, Uart>) -> Result<u32, A::Error> {
///     let byte = uart.read(Uart::received)?;
///     uart.write(Uart::send, byte)?;
///     Uart::lines.get(3).map_or(Ok(0), |line| uart.get(line))
/// }
/// ```
#[macro_export]
macro_rules! registers {
    ($(
        $(#[$meta:meta])*
        $vis:vis struct $name:ident: $size:literal {
            $(
                $(#[$doc:meta])*
                $offset:literal $field:ident: $kind:ty
            ),* $(,)?
        }
    )+) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Copy, Debug)]
            $vis enum $name {}

            impl $crate::mmio::Registers for $name {
                const SIZE: usize = $size;
                const ALIGN: usize = $crate::mmio::Declared::widest(&[
                    $($crate::mmio::Declared::new::<$kind>($offset)),*
                ]);
            }

            #[allow(
                non_upper_case_globals,
                clippy::allow_attributes,
                reason = "registers are named as their specification does"
            )]
            impl $name {
                $(
                    $(#[$doc])*
                    ///
                    #[doc = concat!("`", stringify!($kind), "` at `", stringify!($offset), "`.")]
                    $vis const $field: $crate::mmio::Field<Self, $kind> =
                        match $crate::mmio::Field::at($offset) {
                            Ok(field) => field,
                            Err(error) => panic!("{}", error.message()),
                        };
                )*
            }

            const _: () = {
                $(
                    let _ = $name::$field;
                )*
                let declared = [$($crate::mmio::Declared::new::<$kind>($offset)),*];
                if let Some(index) = $crate::mmio::Declared::out_of_order(&declared) {
                    let messages: &[&str] = &[$(concat!(
                        "the register `", stringify!($field), "` lies before or on an earlier one"
                    )),*];
                    panic!("{}", messages[index]);
                }
            };
        )+
    };
}
