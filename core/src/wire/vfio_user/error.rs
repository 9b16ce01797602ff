//! What can be wrong with a message.

use core::fmt;

use super::{CommandId, JsonFault, VersionError};
use crate::wire::errno::Errno;

/// A message that breaks the rules. Offsets are bytes from its start, the header among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum MessageError {
    /// It is a reply where a command was due, or the other way round.
    Type {
        /// The flags.
        flags: u32,
    },
    /// No version of the protocol has such a command.
    Command(CommandId),
    /// It ends before its structure does.
    Truncated {
        /// Its length in bytes.
        len: u32,
        /// The shortest that is legal.
        min: u32,
    },
    /// The size that its structure says, argsz, is less than the structure.
    Argsz {
        /// argsz.
        argsz: u32,
        /// The least that is legal.
        min: u32,
    },
    /// It has more or less data than its structure says.
    Data {
        /// Where they begin.
        offset: u32,
        /// How many bytes the structure says.
        count: u64,
        /// How many there are.
        len: u32,
    },
    /// A field says another thing than what was asked for.
    Field {
        /// Where the field is.
        offset: u32,
    },
    /// Its version can't be read.
    Version(VersionError),
}

/// A buffer that a message does not fit into. Lengths are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NoRoom {
    /// The length of the message.
    pub needed: usize,
    /// The length of the buffer.
    pub len: usize,
}

impl MessageError {
    /// Returns the offset at which the message goes wrong.
    #[must_use]
    pub const fn offset(&self) -> u32 {
        match *self {
            Self::Command(_) => 2,
            Self::Type { .. } => 8,
            Self::Truncated { len, .. } => len,
            Self::Argsz { .. } => 16,
            Self::Data { offset, .. } | Self::Field { offset } => offset,
            Self::Version(error) => error.offset(),
        }
    }

    /// Returns the error number that a command gets which is so.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            Self::Command(_) => Errno::EOPNOTSUPP,
            Self::Type { .. }
            | Self::Truncated { .. }
            | Self::Argsz { .. }
            | Self::Data { .. }
            | Self::Field { .. }
            | Self::Version(_) => Errno::EINVAL,
        }
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type { flags } => write!(f, "a message of another type: flags {flags:#x}"),
            Self::Command(command) => write!(f, "no version has the command {command}"),
            Self::Truncated { len, min } => write!(f, "{len} bytes, of {min} at least"),
            Self::Argsz { argsz, min } => write!(f, "argsz {argsz}, of {min} at least"),
            Self::Data { offset, count, len } => {
                write!(
                    f,
                    "{len} bytes of data at {offset}, which are said to be {count}"
                )
            }
            Self::Field { offset } => write!(f, "another value at {offset} than was asked for"),
            Self::Version(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for MessageError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Version(error) => Some(error),
            _ => None,
        }
    }
}

impl From<VersionError> for MessageError {
    fn from(error: VersionError) -> Self {
        Self::Version(error)
    }
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, len } = self;
        write!(f, "a message of {needed} bytes does not fit into {len}")
    }
}

impl core::error::Error for NoRoom {}

impl fmt::Display for VersionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unterminated { .. } => f.write_str("the text of the version has no end"),
            Self::Json { offset, fault } => write!(f, "{fault} at {offset}"),
            Self::Value { offset } => write!(f, "a capability of another kind at {offset}"),
            Self::Major(major) => write!(f, "version {major} of the protocol, not 0"),
        }
    }
}

impl core::error::Error for VersionError {}

impl fmt::Display for JsonFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unexpected => "the text is no JSON",
            Self::Ended => "the JSON is cut short",
            Self::Deep => "the JSON is nested too deep",
        })
    }
}
