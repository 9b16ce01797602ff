//! How a question can fail.

use core::fmt;

use crate::sys::Errno;
use crate::wire::info::{InfoError, Malformed};

/// A question that got no usable answer.
///
/// `H` is the fixed structure of the reply, from [`crate::wire::abi`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryError<H> {
    /// The system call failed.
    Errno(Errno),
    /// The answer does not fit into the buffer. What is in `head` holds all the same.
    TooSmall {
        /// The fixed structure.
        head: H,
        /// How many bytes the buffer must have.
        needed: u64,
    },
    /// The answer can't be trusted.
    Malformed(Malformed),
}

impl<H> From<Errno> for QueryError<H> {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl<H> From<InfoError<H>> for QueryError<H> {
    fn from(error: InfoError<H>) -> Self {
        match error {
            InfoError::TooSmall { head, needed } => Self::TooSmall { head, needed },
            InfoError::Malformed(error) => Self::Malformed(error),
        }
    }
}

impl<H> fmt::Display for QueryError<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(errno) => errno.fmt(f),
            Self::TooSmall { needed, .. } => {
                write!(f, "the reply needs a buffer of {needed} bytes")
            }
            Self::Malformed(error) => write!(f, "malformed reply: {error}"),
        }
    }
}

impl<H: fmt::Debug> core::error::Error for QueryError<H> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Errno(errno) => Some(errno),
            Self::TooSmall { .. } => None,
            Self::Malformed(error) => Some(error),
        }
    }
}

/// What [`fmt::Display`] says: the fixed structure would take room in an image.
#[cfg(feature = "defmt")]
impl<H> defmt::Format for QueryError<H> {
    fn format(&self, f: defmt::Formatter<'_>) {
        match self {
            Self::Errno(errno) => defmt::write!(f, "{}", errno),
            Self::TooSmall { needed, .. } => {
                defmt::write!(f, "the reply needs a buffer of {=u64} bytes", needed);
            }
            Self::Malformed(error) => defmt::write!(f, "malformed reply: {}", error),
        }
    }
}
