//! What can be wrong with a reply.

use core::fmt;

use crate::wire::caps::{AreaError, CapError};
use crate::wire::chain::ChainError;

/// A reply that can't be used as it is.
///
/// `H` is the fixed structure of the reply, from [`crate::wire::abi`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum InfoError<H> {
    /// The reply does not fit into the buffer. What is in `head` holds all the same.
    TooSmall {
        /// The fixed structure.
        head: H,
        /// How many bytes the buffer must have.
        needed: u64,
    },
    /// The reply is malformed.
    Malformed(Malformed),
}

/// A reply that breaks the rules. Offsets are bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Malformed {
    /// The buffer is shorter than the fixed structure.
    Truncated {
        /// Its length in bytes.
        len: u32,
        /// The shortest that is legal.
        min: u32,
    },
    /// argsz is less than the fixed structure.
    ArgszBelowStruct {
        /// argsz.
        argsz: u32,
        /// The least that is legal.
        min: u32,
    },
    /// The reply is for another index than was asked for.
    WrongIndex {
        /// The index that was asked for.
        asked: u32,
        /// The index in the reply.
        got: u32,
    },
    /// A list of devices is longer than argsz, though the buffer is not.
    DevicesOutOfBounds {
        /// How many devices the reply says that it has.
        count: u32,
        /// argsz.
        argsz: u32,
    },
    /// The chain or a capability is broken.
    Cap(CapError),
    /// A sparse area does not fit the region.
    Area {
        /// Where the capability starts.
        offset: u32,
        /// What is wrong with which area.
        error: AreaError,
    },
}

impl Malformed {
    /// Returns a short name of the kind of error, in `snake_case`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "truncated",
            Self::ArgszBelowStruct { .. } => "argsz_below_struct",
            Self::WrongIndex { .. } => "wrong_index",
            Self::DevicesOutOfBounds { .. } => "devices_out_of_bounds",
            Self::Cap(CapError::Chain(chain)) => match chain {
                ChainError::Missing => "chain_missing",
                ChainError::InsideStruct { .. } => "inside_struct",
                ChainError::OutOfBounds { .. } => "out_of_bounds",
                ChainError::NotIncreasing { .. } => "not_increasing",
            },
            Self::Cap(CapError::Truncated { .. }) => "capability_truncated",
            Self::Cap(CapError::CountOutOfBounds { .. }) => "count_out_of_bounds",
            Self::Cap(CapError::Duplicate { .. }) => "duplicate_capability",
            Self::Cap(CapError::InvertedRange { .. }) => "inverted_range",
            Self::Area {
                error: AreaError::Overflow { .. },
                ..
            } => "area_overflow",
            Self::Area {
                error: AreaError::PastEnd { .. },
                ..
            } => "area_past_end",
            Self::Area {
                error: AreaError::Overlap { .. },
                ..
            } => "areas_overlap",
        }
    }

    /// Returns the offset at which the reply goes wrong.
    #[must_use]
    pub const fn offset(&self) -> u32 {
        match *self {
            Self::Truncated { len, .. } => len,
            Self::ArgszBelowStruct { .. } => 0,
            Self::WrongIndex { .. } | Self::DevicesOutOfBounds { .. } => 8,
            Self::Cap(error) => error.offset(),
            Self::Area { offset, .. } => offset,
        }
    }
}

impl From<ChainError> for Malformed {
    fn from(error: ChainError) -> Self {
        Self::Cap(error.into())
    }
}

impl From<CapError> for Malformed {
    fn from(error: CapError) -> Self {
        Self::Cap(error)
    }
}

impl<H> From<Malformed> for InfoError<H> {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { len, min } => {
                write!(f, "the reply has {len} bytes, and its structure {min}")
            }
            Self::ArgszBelowStruct { argsz, min } => {
                write!(
                    f,
                    "argsz is {argsz}, less than the structure of {min} bytes"
                )
            }
            Self::WrongIndex { asked, got } => {
                write!(f, "the reply is for index {got}, and {asked} was asked for")
            }
            Self::DevicesOutOfBounds { count, argsz } => write!(
                f,
                "the reply of {argsz} bytes has no room for the {count} devices that it announces"
            ),
            Self::Cap(error) => error.fmt(f),
            Self::Area { offset, error } => {
                write!(f, "in the sparse areas at offset {offset}, {error}")
            }
        }
    }
}

impl core::error::Error for Malformed {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Cap(error) => Some(error),
            Self::Area { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl<H> fmt::Display for InfoError<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall { needed, .. } => {
                write!(f, "the reply needs a buffer of {needed} bytes")
            }
            Self::Malformed(error) => error.fmt(f),
        }
    }
}

impl<H: fmt::Debug> core::error::Error for InfoError<H> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::TooSmall { .. } => None,
            Self::Malformed(error) => Some(error),
        }
    }
}
