//! What can be wrong with a configuration space, or with reaching it.

use core::fmt;

use super::CapabilityId;

/// A configuration space that can't be read, or that does not hold what it promises. Offsets are
/// bytes from its start; `E` is the error of its [`ConfigAccess`](super::ConfigAccess).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ConfigError<E> {
    /// The access itself failed.
    Access {
        /// Where.
        offset: u16,
        /// Why.
        error: E,
    },
    /// The caller asked for bytes that the space does not have.
    OutOfSpace {
        /// Where the access was to start.
        offset: u16,
        /// How many bytes it asked for.
        len: u16,
        /// The size of the space in bytes.
        size: u16,
    },
    /// The caller asked for a register that is not aligned to its width.
    Misaligned {
        /// Where the access was to start.
        offset: u16,
        /// Its width in bytes.
        width: u16,
    },
    /// The header has a layout in which what was asked for has no known place.
    UnknownLayout {
        /// The low seven bits of the header type.
        layout: u8,
    },
    /// The last BAR says that it is the low half of a 64-bit one.
    UnpairedBar {
        /// Where its register lies.
        offset: u16,
    },
    /// The links of a capability list can't be followed.
    List(ListError),
    /// A capability ends past the space.
    Truncated {
        /// Which one.
        id: CapabilityId,
        /// Where it starts.
        offset: u16,
        /// The size of the space in bytes.
        size: u16,
    },
    /// A capability says that it is shorter than its own header.
    Length {
        /// Which one.
        id: CapabilityId,
        /// Where it starts.
        offset: u16,
        /// The length that it claims, in bytes.
        len: u16,
    },
}

/// A capability list whose links can't be followed. Offsets are bytes from the start of the
/// configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ListError {
    /// A pointer leads below the part of the space in which its list lies: 0x40 to 0xff for
    /// standard capabilities, 0x100 and up for extended ones.
    BelowList {
        /// The capability that names the next one, or the register that names the first.
        offset: u16,
        /// Where it says that the next one is, with reserved bits masked.
        next: u16,
    },
    /// A pointer leads out of the space.
    OutOfSpace {
        /// The capability that names the next one, or the register that names the first.
        offset: u16,
        /// Where it says that the next one is, with reserved bits masked.
        next: u16,
        /// The size of the space in bytes.
        size: u16,
    },
    /// A pointer leads to a capability that was there already.
    Loop {
        /// The capability that names the next one.
        offset: u16,
        /// Where it says that the next one is, with reserved bits masked.
        next: u16,
    },
    /// A header is all ones: nothing is there, or the device is gone.
    AllOnes {
        /// Where the header is.
        offset: u16,
    },
}

impl<E> ConfigError<E> {
    /// Returns the offset at which the space goes wrong.
    #[must_use]
    pub const fn offset(&self) -> u16 {
        match self {
            Self::Access { offset, .. }
            | Self::OutOfSpace { offset, .. }
            | Self::Misaligned { offset, .. }
            | Self::UnpairedBar { offset }
            | Self::Truncated { offset, .. }
            | Self::Length { offset, .. } => *offset,
            Self::UnknownLayout { .. } => super::header::HEADER_TYPE,
            Self::List(error) => error.offset(),
        }
    }
}

impl ListError {
    /// Returns the offset at which the list goes wrong: the one that was to be followed.
    #[must_use]
    pub const fn offset(&self) -> u16 {
        match *self {
            Self::BelowList { next, .. }
            | Self::OutOfSpace { next, .. }
            | Self::Loop { next, .. } => next,
            Self::AllOnes { offset } => offset,
        }
    }
}

impl<E> From<ListError> for ConfigError<E> {
    fn from(error: ListError) -> Self {
        Self::List(error)
    }
}

impl<E: fmt::Display> fmt::Display for ConfigError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access { offset, error } => {
                write!(
                    f,
                    "config space can't be reached at offset {offset:#x}: {error}"
                )
            }
            Self::OutOfSpace { offset, len, size } => write!(
                f,
                "{len} bytes at offset {offset:#x} are not in a config space of {size:#x} bytes"
            ),
            Self::Misaligned { offset, width } => {
                write!(f, "offset {offset:#x} is not aligned to {width} bytes")
            }
            Self::UnknownLayout { layout } => {
                write!(f, "the header layout {layout:#x} is not known")
            }
            Self::UnpairedBar { offset } => write!(
                f,
                "the last BAR, at offset {offset:#x}, is half of a 64-bit one"
            ),
            Self::List(error) => fmt::Display::fmt(error, f),
            Self::Truncated { id, offset, size } => write!(
                f,
                "the capability {id} at offset {offset:#x} ends past the config space of {size:#x} \
                 bytes"
            ),
            Self::Length { id, offset, len } => write!(
                f,
                "the capability {id} at offset {offset:#x} claims a length of {len} bytes"
            ),
        }
    }
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::BelowList { offset, next } => write!(
                f,
                "offset {offset:#x} names a capability at {next:#x}, where none can be"
            ),
            Self::OutOfSpace { offset, next, size } => write!(
                f,
                "offset {offset:#x} names a capability at {next:#x}, out of the config space of \
                 {size:#x} bytes"
            ),
            Self::Loop { offset, next } => write!(
                f,
                "the capability at offset {offset:#x} is followed by the one at {next:#x} again"
            ),
            Self::AllOnes { offset } => {
                write!(f, "the capability at offset {offset:#x} reads as all ones")
            }
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for ConfigError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Access { error, .. } => Some(error),
            Self::List(error) => Some(error),
            _ => None,
        }
    }
}

impl core::error::Error for ListError {}
