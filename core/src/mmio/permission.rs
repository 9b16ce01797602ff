//! What may be done with device memory.

use core::fmt;

mod sealed {
    pub trait Sealed {}
}

/// What may be done with mapped memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Protection {
    /// It is read.
    pub read: bool,
    /// It is written.
    pub write: bool,
}

impl Protection {
    /// It is read and written.
    pub const BOTH: Self = Self {
        read: true,
        write: true,
    };

    /// Tells whether all that `other` permits is permitted.
    #[inline]
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        (self.read || !other.read) && (self.write || !other.write)
    }
}

/// What a driver wants to do with device memory: a type, so that what it does not ask for does
/// not compile. It is [`CanRead`], [`CanWrite`] or [`CanReadWrite`].
pub trait Permission: sealed::Sealed {
    /// What it permits.
    const PROTECTION: Protection;
}

/// A permission to read.
#[diagnostic::on_unimplemented(
    message = "the permission `{Self}` is not one to read",
    label = "this window can't be read",
    note = "ask for the memory as `CanRead` or `CanReadWrite`"
)]
pub trait Readable: Permission {}

/// A permission to write.
#[diagnostic::on_unimplemented(
    message = "the permission `{Self}` is not one to write",
    label = "this window can't be written",
    note = "ask for the memory as `CanWrite` or `CanReadWrite`"
)]
pub trait Writable: Permission {}

macro_rules! permission {
    ($($(#[$doc:meta])* $name:ident: $read:literal $write:literal, $($can:ident)*;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
            #[cfg_attr(feature = "defmt", derive(defmt::Format))]
            pub struct $name;

            impl sealed::Sealed for $name {}

            impl Permission for $name {
                const PROTECTION: Protection = Protection { read: $read, write: $write };
            }

            $(impl $can for $name {})*
        )*
    };
}

permission! {
    /// To read, and not to write.
    CanRead: true false, Readable;
    /// To write, and not to read.
    CanWrite: false true, Writable;
    /// To read and to write.
    CanReadWrite: true true, Readable Writable;
}

/// Device memory that does not permit what is to be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NotPermitted {
    /// What it permits.
    pub permitted: Protection,
}

impl fmt::Display for NotPermitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.permitted {
            Protection { read: true, .. } => "the memory can only be read",
            Protection { write: true, .. } => "the memory can only be written",
            _ => "the memory can neither be read nor written",
        })
    }
}

impl core::error::Error for NotPermitted {}
