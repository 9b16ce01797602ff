//! Why a server can't be talked to any more.

use core::fmt;

use vfio_core::sys::Errno;
use vfio_core::wire::vfio_user::{CommandId, MessageError, ReplyError};

use crate::vfio_user::socket::ChannelError;

/// Why a server can't be talked to any more: all that is asked of it from then on fails with the
/// same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// The socket can't be used any more.
    Channel(ChannelError),
    /// The server does not speak a version that is known here.
    Version(ReplyError),
    /// The answer to a command is not the one that was due, or breaks the rules.
    Reply {
        /// The command.
        command: CommandId,
        /// What is wrong.
        error: ReplyError,
    },
    /// What the server asks for breaks the rules.
    Command(MessageError),
}

impl ClientError {
    /// Returns the number that the shim returns for it.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            Self::Channel(error) => error.errno(),
            Self::Version(ReplyError::Refused(errno))
            | Self::Reply {
                error: ReplyError::Refused(errno),
                ..
            } => errno,
            Self::Version(_) | Self::Reply { .. } | Self::Command(_) => Errno::EPROTO,
        }
    }
}

impl From<ChannelError> for ClientError {
    fn from(error: ChannelError) -> Self {
        Self::Channel(error)
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(error) => error.fmt(f),
            Self::Version(error) => write!(f, "the version: {error}"),
            Self::Reply { command, error } => write!(f, "{command}: {error}"),
            Self::Command(error) => write!(f, "a command of the server: {error}"),
        }
    }
}

impl core::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Channel(error) => Some(error),
            Self::Version(error) | Self::Reply { error, .. } => Some(error),
            Self::Command(error) => Some(error),
        }
    }
}
