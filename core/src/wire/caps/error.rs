//! What can be wrong with the body of a capability.

use core::fmt;

use crate::wire::chain::{Capability, ChainError};

/// A capability that does not hold what its id and version promise, or a chain that can't be
/// followed. Offsets are bytes from the start of the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CapError {
    /// The links are broken.
    Chain(ChainError),
    /// The body is shorter than its version requires.
    Truncated {
        /// Where the capability starts.
        offset: u32,
        /// Its id.
        id: u16,
        /// Its length in bytes, header included.
        len: u32,
    },
    /// A counted array says that it has more elements than there is room for.
    CountOutOfBounds {
        /// Where the capability starts.
        offset: u32,
        /// Its id.
        id: u16,
        /// How many elements (or bytes) it says that it has.
        count: u32,
    },
    /// A known capability that was there already.
    Duplicate {
        /// Where the second one starts.
        offset: u32,
        /// Its id.
        id: u16,
    },
    /// An IOVA range whose end lies before its start.
    InvertedRange {
        /// Where the capability starts.
        offset: u32,
        /// The range's place in the list, from 0.
        index: u32,
    },
}

impl CapError {
    /// Returns the offset at which the reply goes wrong.
    #[must_use]
    pub const fn offset(&self) -> u32 {
        match *self {
            Self::Chain(error) => error.offset(),
            Self::Truncated { offset, .. }
            | Self::CountOutOfBounds { offset, .. }
            | Self::Duplicate { offset, .. }
            | Self::InvertedRange { offset, .. } => offset,
        }
    }

    /// Creates the error of a capability that was there already.
    #[cold]
    pub(super) const fn duplicate(raw: &Capability<'_>) -> Self {
        Self::Duplicate {
            offset: raw.offset,
            id: raw.id,
        }
    }

    /// Creates the error of a capability that is too short.
    #[cold]
    pub(super) fn truncated(raw: &Capability<'_>) -> Self {
        Self::Truncated {
            offset: raw.offset,
            id: raw.id,
            len: u32::try_from(raw.bytes.len()).unwrap_or(u32::MAX),
        }
    }

    /// Creates the error of an array of `count` elements that does not fit.
    #[cold]
    pub(super) const fn count(raw: &Capability<'_>, count: u32) -> Self {
        Self::CountOutOfBounds {
            offset: raw.offset,
            id: raw.id,
            count,
        }
    }
}

impl From<ChainError> for CapError {
    fn from(error: ChainError) -> Self {
        Self::Chain(error)
    }
}

impl fmt::Display for CapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Chain(error) => error.fmt(f),
            Self::Truncated { offset, id, len } => write!(
                f,
                "the capability {id} at offset {offset} is too short with {len} bytes"
            ),
            Self::CountOutOfBounds { offset, id, count } => write!(
                f,
                "the capability {id} at offset {offset} has no room for the {count} elements \
                 that it announces"
            ),
            Self::Duplicate { offset, id } => {
                write!(f, "the capability {id} stands again at offset {offset}")
            }
            Self::InvertedRange { offset, index } => write!(
                f,
                "range {index} of the capability at offset {offset} ends before it starts"
            ),
        }
    }
}

impl core::error::Error for CapError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Chain(error) => Some(error),
            _ => None,
        }
    }
}
