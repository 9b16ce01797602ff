//! A connected socket: messages, and the descriptors beside them.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use std::vec;
use std::vec::Vec;

use rustix::io::{Errno as Os, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg, sockopt,
};
use vfio_core::sys::Errno;
use vfio_core::wire::vfio_user::{FrameError, Frames};

use crate::linux::errno;

/// The most descriptors that Linux passes beside a message (`SCM_MAX_FD`, net/scm.h).
const FDS_MOST: usize = 253;

/// A connected socket.
pub(super) struct Channel {
    socket: OwnedFd,
    frames: Frames<Vec<u8>>,
    /// Those that came beside the messages which were not taken yet.
    fds: Vec<OwnedFd>,
    /// How many of them are kept at most; more are closed.
    fds_most: usize,
}

/// Why a channel can't be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelError {
    /// The other side has closed it.
    Closed,
    /// The other side did not read, or did not end what it began to send, in time.
    Late,
    /// What it sends are no messages.
    Frame(FrameError),
    /// A system call failed.
    Errno(Errno),
}

/// How long bytes are waited for.
#[derive(Clone, Copy)]
pub(super) enum Wait {
    /// Not at all.
    No,
    /// As long as the socket does.
    Socket,
}

impl Channel {
    /// Takes a connected socket. A message may have `longest` bytes, and a call lasts `patience` at most.
    pub(super) fn new(
        socket: OwnedFd,
        longest: usize,
        fds_most: usize,
        patience: Duration,
    ) -> Result<Self, Errno> {
        for direction in [sockopt::Timeout::Recv, sockopt::Timeout::Send] {
            sockopt::set_socket_timeout(&socket, direction, Some(patience)).map_err(errno)?;
        }
        Ok(Self {
            socket,
            frames: Frames::new(vec![0; longest]),
            fds: Vec::new(),
            fds_most: fds_most.min(FDS_MOST),
        })
    }

    /// Sends a message, with descriptors beside it.
    pub(super) fn send(
        &self,
        message: &[u8],
        fds: &[BorrowedFd<'_>],
        deadline: Instant,
    ) -> Result<(), ChannelError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MOST))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(ChannelError::Errno(Errno::EINVAL));
        }
        let mut rest = message;
        while !rest.is_empty() {
            let parts = [IoSlice::new(rest)];
            let sent = sendmsg(&self.socket, &parts, &mut ancillary, SendFlags::NOSIGNAL);
            let len = match sent {
                Err(Os::INTR) => 0,
                sent => sent.map_err(ChannelError::of)?,
            };
            rest = rest.get(len..).unwrap_or_default();
            if len > 0 {
                // They go with the first byte.
                ancillary.clear();
            }
            if !rest.is_empty() && Instant::now() >= deadline {
                return Err(ChannelError::Late);
            }
        }
        Ok(())
    }

    /// Receives once, as much of the next message as is there; or, where more is `expected`, up to so many
    /// bytes. Tells whether anything came.
    pub(super) fn receive(&mut self, expected: usize, wait: Wait) -> Result<bool, ChannelError> {
        let missing = self.frames.missing().map_err(ChannelError::Frame)?;
        let room = self.frames.space();
        let len = missing.max(expected).min(room.len());
        let room = room.get_mut(..len).unwrap_or_default();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MOST))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = match wait {
            Wait::No => RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
            Wait::Socket => RecvFlags::CMSG_CLOEXEC,
        };
        let received = retry_on_intr(|| {
            recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(room)],
                &mut ancillary,
                flags,
            )
        });
        let bytes = match (received, wait) {
            (Err(Os::AGAIN), Wait::No) => return Ok(false),
            (Err(Os::AGAIN), Wait::Socket) => return Err(ChannelError::Late),
            (received, _) => received.map_err(ChannelError::of)?.bytes,
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                let free = self.fds_most.saturating_sub(self.fds.len());
                // What is too many is closed with the rest of the iterator.
                self.fds.extend(fds.take(free));
            }
        }
        if bytes == 0 {
            return Err(ChannelError::Closed);
        }
        self.frames.fill(bytes);
        Ok(true)
    }

    /// Returns the messages that have arrived.
    pub(super) const fn frames(&mut self) -> &mut Frames<Vec<u8>> {
        &mut self.frames
    }

    /// Takes the descriptors that came so far.
    pub(super) fn take_fds(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.fds)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl ChannelError {
    /// Returns the error of a system call on the socket.
    fn of(error: Os) -> Self {
        match error {
            Os::AGAIN => Self::Late,
            Os::PIPE | Os::CONNRESET => Self::Closed,
            error => Self::Errno(errno(error)),
        }
    }

    /// Returns the number that a shim returns for it.
    pub(super) const fn errno(self) -> Errno {
        match self {
            Self::Closed => Errno::ECONNRESET,
            Self::Late => Errno::ETIMEDOUT,
            Self::Frame(_) => Errno::EPROTO,
            Self::Errno(errno) => errno,
        }
    }
}

impl std::fmt::Display for ChannelError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("the other side has hung up"),
            Self::Late => f.write_str("the other side did not answer in time"),
            Self::Frame(error) => error.fmt(f),
            Self::Errno(errno) => errno.fmt(f),
        }
    }
}

impl core::error::Error for ChannelError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Frame(error) => Some(error),
            Self::Errno(errno) => Some(errno),
            Self::Closed | Self::Late => None,
        }
    }
}
