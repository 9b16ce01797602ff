//! The kinds of registers: how wide each is, and what may be done with it.
//!
//! [`registers!`](crate::registers) declares a block of them:
//!
//! ```
//! use vfio_core::mmio::field::{ReadPure, ReadPureWrite, WriteOnly};
//! use vfio_core::mmio::{Access, Block};
//! use vfio_core::registers;
//!
//! registers! {
//!     /// A timer.
//!     struct Timer: 0x10 {
//!         /// Tells timers apart.
//!         0x00 id: ReadPure<u32>,
//!         /// Counts up.
//!         0x08 count: ReadPureWrite<u32>,
//!         /// Starts to count.
//!         0x0c start: WriteOnly<u32>,
//!     }
//! }
//!
//! fn restart<A: Access>(timer: &mut Block<A, Timer>) -> Result<u32, A::Error> {
//!     timer.write(Timer::count, 0)?;
//!     timer.write(Timer::start, 1)?;
//!     timer.get(Timer::id)
//! }
//! ```

#![forbid(unsafe_code)]

use core::marker::PhantomData;

use super::Width;

mod sealed {
    pub trait Sealed {}
}

/// A register that can be read; the read may change the device.
#[derive(Debug)]
pub struct ReadOnly<T>(PhantomData<T>);

/// A register that can be read, which changes nothing.
#[derive(Debug)]
pub struct ReadPure<T>(PhantomData<T>);

/// A register that can be written.
#[derive(Debug)]
pub struct WriteOnly<T>(PhantomData<T>);

/// A register that can be read and written; the read may change the device.
#[derive(Debug)]
pub struct ReadWrite<T>(PhantomData<T>);

/// A register that can be read, which changes nothing, and written.
#[derive(Debug)]
pub struct ReadPureWrite<T>(PhantomData<T>);

/// A register of some width: one of the types of this module, and nothing else.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no kind of register",
    note = "a register is `ReadOnly`, `ReadPure`, `WriteOnly`, `ReadWrite` or `ReadPureWrite`, of a `u8`, `u16`, `u32` or `u64`"
)]
pub trait Register: Layout {
    /// What it holds.
    type Value: Width;
}

/// A register that can be read.
#[diagnostic::on_unimplemented(
    message = "this register is not readable",
    label = "`{Self}`",
    note = "where the device lets it be read, declare it `ReadOnly`, `ReadPure`, `ReadWrite` or `ReadPureWrite`"
)]
pub trait Read: Register {}

/// A register whose read changes nothing.
#[diagnostic::on_unimplemented(
    message = "this register is not known to be read without changing the device",
    label = "`{Self}`",
    note = "use `Block::read`; or, where a read changes nothing, declare it `ReadPure` or `ReadPureWrite`"
)]
pub trait Pure: Read {}

/// A register that can be written.
#[diagnostic::on_unimplemented(
    message = "this register is not writable",
    label = "`{Self}`",
    note = "where the device lets it be written, declare it `WriteOnly`, `ReadWrite` or `ReadPureWrite`"
)]
pub trait Write: Register {}

/// What a declaration puts at an offset: a register, or several in a row, `[ReadPure<u32>; 8]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a kind of register nor an array of them",
    note = "a register is `ReadOnly`, `ReadPure`, `WriteOnly`, `ReadWrite` or `ReadPureWrite`, of a `u8`, `u16`, `u32` or `u64`"
)]
pub trait Layout: sealed::Sealed {
    /// Bytes of a register.
    const WIDTH: usize;
    /// Bytes of all of them.
    const SIZE: usize;
    /// Whether they can be read.
    const IS_READ: bool;
    /// Whether they can be written.
    const IS_WRITTEN: bool;
}

impl<C: Register, const N: usize> sealed::Sealed for [C; N] {}

impl<C: Register, const N: usize> Layout for [C; N] {
    const WIDTH: usize = C::WIDTH;
    // What is longer than any block fits into none.
    const SIZE: usize = C::WIDTH.saturating_mul(N);
    const IS_READ: bool = C::IS_READ;
    const IS_WRITTEN: bool = C::IS_WRITTEN;
}

macro_rules! register {
    ($($name:ident: $is_read:literal $is_written:literal, $($can:ident)*;)*) => {
        $(
            impl<T: Width> sealed::Sealed for $name<T> {}

            impl<T: Width> Layout for $name<T> {
                const WIDTH: usize = size_of::<T>();
                const SIZE: usize = size_of::<T>();
                const IS_READ: bool = $is_read;
                const IS_WRITTEN: bool = $is_written;
            }

            impl<T: Width> Register for $name<T> {
                type Value = T;
            }

            $(impl<T: Width> $can for $name<T> {})*
        )*
    };
}

register! {
    ReadOnly: true false, Read;
    ReadPure: true false, Read Pure;
    WriteOnly: false true, Write;
    ReadWrite: true true, Read Write;
    ReadPureWrite: true true, Read Pure Write;
}
