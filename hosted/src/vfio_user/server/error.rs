//! Why a client was hung up on, and why a device can't be served.

use core::fmt;

use vfio_core::sys::Errno;
use vfio_core::wire::vfio_user::{CommandId, MessageError, ReplyError};

use crate::vfio_user::socket::ChannelError;

/// Why a device can't be served any longer.
#[derive(Debug)]
pub enum ServeError {
    /// The socket can't be made.
    Bind(std::io::Error),
    /// Another server has the socket.
    InUse,
    /// No client can be waited for, or taken.
    Accept(Errno),
}

/// How the connection of a client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The client has hung up.
    Left,
    /// The server was told to stop.
    Stopped,
    /// What the client sends are no messages, it does not read, or it began a message that it did not end in
    /// time.
    Channel(ChannelError),
    /// The client did not begin with a version that is spoken here.
    Version(MessageError),
    /// The client began with another command than that of the version.
    Unversioned(CommandId),
    /// The client sent a reply that was not due, or another one than was due.
    Reply(ReplyError),
    /// The client sent so many commands while its answer was waited for that they are not kept.
    Flood,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("it has left"),
            Self::Stopped => f.write_str("the server was stopped"),
            Self::Channel(error) => error.fmt(f),
            Self::Version(error) => write!(f, "its version: {error}"),
            Self::Unversioned(command) => {
                write!(f, "it began with {command}, and not with its version")
            }
            Self::Reply(error) => error.fmt(f),
            Self::Flood => {
                f.write_str("it sent too many commands, and not the answer that was due")
            }
        }
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => write!(f, "the socket can't be made: {error}"),
            Self::InUse => f.write_str("another server has the socket"),
            Self::Accept(errno) => write!(f, "no client can be taken: {errno}"),
        }
    }
}

impl core::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Bind(error) => Some(error),
            Self::Accept(errno) => Some(errno),
            Self::InUse => None,
        }
    }
}

impl From<ChannelError> for Ended {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::Closed => Self::Left,
            error => Self::Channel(error),
        }
    }
}
