//! The fields of a block of registers: how wide each is, and what may be done with it.
//!
//! A driver writes its registers down as a `repr(C)` structure of these types, and names one by
//! [`field!`](crate::field):
//!
//! ```
//! use vfio_core::field;
//! use vfio_core::mmio::field::{ReadPure, ReadPureWrite, WriteOnly};
//! use vfio_core::mmio::{Access, Block};
//!
//! #[repr(C)]
//! struct Timer {
//!     id: ReadPure<u32>,
//!     count: ReadPureWrite<u32>,
//!     start: WriteOnly<u32>,
//! }
//!
//! fn restart<A: Access>(timer: &mut Block<A, Timer>) -> Result<u32, A::Error> {
//!     timer.write(field!(Timer, count), 0)?;
//!     timer.write(field!(Timer, start), 1)?;
//!     timer.get(field!(Timer, id))
//! }
//! ```

#![forbid(unsafe_code)]

use core::marker::PhantomData;
use core::mem::{align_of, size_of};

use super::Width;

/// A register that can be read; the read may change the device.
#[derive(Debug)]
#[repr(transparent)]
pub struct ReadOnly<T>(T);

/// A register that can be read, which changes nothing.
#[derive(Debug)]
#[repr(transparent)]
pub struct ReadPure<T>(T);

/// A register that can be written.
#[derive(Debug)]
#[repr(transparent)]
pub struct WriteOnly<T>(T);

/// A register that can be read and written; the read may change the device.
#[derive(Debug)]
#[repr(transparent)]
pub struct ReadWrite<T>(T);

/// A register that can be read, which changes nothing, and written.
#[derive(Debug)]
#[repr(transparent)]
pub struct ReadPureWrite<T>(T);

/// A register of some width.
pub trait Register {
    /// What it holds.
    type Value: Width;
}

/// A register that can be read.
pub trait Read: Register {}

/// A register whose read changes nothing.
pub trait Pure: Read {}

/// A register that can be written.
pub trait Write: Register {}

macro_rules! register {
    ($($name:ident: $($can:ident)*;)*) => {
        $(
            impl<T: Width> Register for $name<T> {
                type Value = T;
            }
            $(impl<T: Width> $can for $name<T> {})*
        )*
    };
}

register! {
    ReadOnly: Read;
    ReadPure: Read Pure;
    WriteOnly: Write;
    ReadWrite: Read Write;
    ReadPureWrite: Read Pure Write;
}

/// The place of a field of type `C` in the structure `R`; made by [`field!`](crate::field).
pub struct Field<R, C> {
    offset: usize,
    place: PhantomData<fn(R) -> C>,
}

impl<R, C> Field<R, C> {
    /// The field at `offset` (bytes), if it lies in the structure at its alignment. `witness`
    /// tells the field's type.
    #[doc(hidden)]
    #[must_use]
    pub const fn at(offset: usize, _witness: fn(&R) -> &C) -> Option<Self> {
        let is_aligned = offset.is_multiple_of(align_of::<C>());
        match offset.checked_add(size_of::<C>()) {
            Some(end) if end <= size_of::<R>() && is_aligned => Some(Self {
                offset,
                place: PhantomData,
            }),
            _ => None,
        }
    }

    /// Where the field lies in the structure, in bytes.
    #[inline]
    #[must_use]
    pub const fn offset(self) -> usize {
        self.offset
    }
}

impl<R, C> Clone for Field<R, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, C> Copy for Field<R, C> {}

impl<R, C> core::fmt::Debug for Field<R, C> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Field({:#x})", self.offset)
    }
}

/// Names a field of a block of registers: `field!(Registers, name)` is a
/// [`Field`](crate::mmio::Field), checked at compile time.
#[macro_export]
macro_rules! field {
    ($registers:ty, $name:ident) => {
        const {
            let offset = ::core::mem::offset_of!($registers, $name);
            match $crate::mmio::Field::<$registers, _>::at(offset, |r| &r.$name) {
                Some(field) => field,
                None => panic!("a field lies in its structure"),
            }
        }
    };
}
