//! What can be wrong with the links of a chain.

use core::fmt;

/// A chain whose links can't be followed. Offsets are bytes from the start of the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ChainError {
    /// The reply says that there is a chain, and not where.
    Missing,
    /// The chain starts inside the fixed structure of the reply.
    InsideStruct {
        /// Where the chain is said to start.
        offset: u32,
        /// The first offset past the structure.
        fixed: u32,
    },
    /// A header does not fit into the reply.
    OutOfBounds {
        /// Where the header is said to be.
        offset: u32,
        /// The reply's length.
        len: u32,
    },
    /// A header does not lie past the header that names it: a loop, or an overlap.
    NotIncreasing {
        /// The header that names the next one.
        offset: u32,
        /// Where it says that the next one is.
        next: u32,
    },
}

impl ChainError {
    /// Returns the offset at which the chain goes wrong: the one that was to be followed.
    #[must_use]
    pub const fn offset(&self) -> u32 {
        match *self {
            Self::Missing => 0,
            Self::InsideStruct { offset, .. } | Self::OutOfBounds { offset, .. } => offset,
            Self::NotIncreasing { next, .. } => next,
        }
    }
}

impl fmt::Display for ChainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Missing => f.write_str("capabilities are announced, but no chain is there"),
            Self::InsideStruct { offset, fixed } => write!(
                f,
                "the chain starts at offset {offset}, inside the structure of {fixed} bytes"
            ),
            Self::OutOfBounds { offset, len } => write!(
                f,
                "a capability at offset {offset} does not fit into the reply of {len} bytes"
            ),
            Self::NotIncreasing { offset, next } => write!(
                f,
                "the capability at offset {offset} is followed by one at {next}, not past it"
            ),
        }
    }
}

impl core::error::Error for ChainError {}
