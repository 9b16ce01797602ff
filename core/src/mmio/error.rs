//! What can go wrong with a register.

use core::fmt;

use crate::wire::Errno;

/// An offset that does not name a register. Offsets and lengths are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum OffsetError {
    /// What is named does not lie within the window.
    OutOfBounds {
        /// Where it starts.
        offset: usize,
        /// How long it is.
        size: usize,
        /// The length of the window.
        len: usize,
    },
    /// The offset is not a multiple of what it must be a multiple of.
    Misaligned {
        /// The offset.
        offset: usize,
        /// The alignment.
        align: usize,
    },
}

/// An access at an offset known at run time that was not made, or that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RegisterError<E> {
    /// The offset names no register of the window.
    Offset(OffsetError),
    /// The access failed.
    Access(E),
}

/// A trapped access that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TrapError {
    /// The system call failed; `EIO` where the device's memory decoding is off.
    Errno {
        /// The offset in the window, in bytes.
        offset: usize,
        /// Why.
        errno: Errno,
    },
    /// Fewer bytes were read or written than the register has.
    Short {
        /// The offset in the window, in bytes.
        offset: usize,
        /// How many bytes.
        done: usize,
    },
}

impl fmt::Display for OffsetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::OutOfBounds { offset, size, len } => {
                write!(
                    f,
                    "{size} bytes at {offset:#x} are not in a window of {len:#x} bytes"
                )
            }
            Self::Misaligned { offset, align } => {
                write!(f, "the offset {offset:#x} is not a multiple of {align}")
            }
        }
    }
}

impl core::error::Error for OffsetError {}

impl<E: fmt::Display> fmt::Display for RegisterError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(error) => error.fmt(f),
            Self::Access(error) => error.fmt(f),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for RegisterError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Offset(_) => None,
            // The access speaks for itself above.
            Self::Access(error) => error.source(),
        }
    }
}

impl fmt::Display for TrapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Errno { offset, errno } => {
                write!(f, "the register at {offset:#x} can't be reached: {errno}")
            }
            Self::Short { offset, done } => {
                write!(
                    f,
                    "only {done} bytes of the register at {offset:#x} were reached"
                )
            }
        }
    }
}

impl core::error::Error for TrapError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Errno { errno, .. } => Some(errno),
            Self::Short { .. } => None,
        }
    }
}
