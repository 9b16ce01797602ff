//! A connection to a server: what is asked of it, and what it asks.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;
use std::vec;
use std::vec::Vec;

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt,
};
use vfio_core::sys::Errno;
use vfio_core::wire::vfio_user::{
    Capabilities, Command, CommandId, DmaAccess, Header, Message, MessageError, MessageType,
    RegionAccess, ReplyError, Version, error_reply, message_len, reply,
};
use zerocopy::IntoBytes;

use super::regions::Regions;
use super::space::Space;
use super::{ClientError, Options};
use crate::linux::errno;
use crate::lock::lock;
use crate::vfio_user::socket::{Channel, ChannelError, Wait};

/// A connection to a server.
pub(super) struct Connection {
    link: Mutex<Link>,
    /// The same socket, to be waited for while the link is in use.
    socket: OwnedFd,
}

/// What is done with the socket, one thread at a time.
pub(super) struct Link {
    channel: Channel,
    pub(super) options: Options,
    /// What the server can.
    pub(super) server: Capabilities,
    pub(super) space: Space,
    pub(super) regions: Regions,
    /// How many vectors of MSI-X were given events.
    pub(super) msix_vectors: u32,
    failure: Option<ClientError>,
    next_id: u16,
    out: Vec<u8>,
}

/// How many bytes of a region or of memory are moved by one message.
const CHUNK: usize = 64 << 10;

/// How many bytes the server may move in one message.
const MAX_TRANSFER: usize = 1 << 20;

/// How many descriptors come beside a message: a region has one.
const FDS: usize = 16;

impl Connection {
    /// Connects to a server, and agrees on a version.
    pub(super) fn open(path: &std::ffi::CStr, options: Options) -> Result<Self, ClientError> {
        let of_call = |error| ClientError::Channel(ChannelError::Errno(errno(error)));
        let kind = (
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
        );
        let socket = socket_with(kind.0, kind.1, kind.2, None).map_err(of_call)?;
        // A server that takes no connections lets none wait longer.
        let patience = Some(options.patience);
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, patience).map_err(of_call)?;
        let address = SocketAddrUnix::new(path).map_err(of_call)?;
        connect(&socket, &address).map_err(|error| match error {
            rustix::io::Errno::AGAIN => ClientError::Channel(ChannelError::Late),
            error => of_call(error),
        })?;
        Self::over(socket, options)
    }

    /// Takes a socket that is connected to a server, and agrees on a version.
    pub(super) fn over(socket: OwnedFd, options: Options) -> Result<Self, ClientError> {
        let of_call = |errno| ClientError::Channel(ChannelError::Errno(errno));
        let again = socket.try_clone();
        let again = again.map_err(|_| of_call(Errno::EMFILE))?;
        let longest = message_len(MAX_TRANSFER);
        let channel = Channel::new(socket, longest, FDS, options.patience).map_err(of_call)?;
        let mut link = Link {
            channel,
            options,
            server: Capabilities::default(),
            space: Space::default(),
            regions: Regions::default(),
            msix_vectors: 0,
            failure: None,
            next_id: 0,
            out: vec![0; longest],
        };
        link.agree()?;
        Ok(Self {
            link: Mutex::new(link),
            socket: again,
        })
    }

    pub(super) fn link(&self) -> MutexGuard<'_, Link> {
        lock(&self.link)
    }

    /// Returns the socket, to be waited for.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn region_read(&self, region: u32, at: u64, data: &mut [u8]) -> Result<(), Errno> {
        self.link().region_read(region, at, data)
    }

    pub(super) fn region_write(&self, region: u32, at: u64, data: &[u8]) -> Result<(), Errno> {
        self.link().region_write(region, at, data)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Returns why the server can't be talked to any more, where that is so.
    pub(super) const fn failure(&self) -> Option<ClientError> {
        self.failure
    }

    /// Exchanges versions.
    fn agree(&mut self) -> Result<(), ClientError> {
        let ours = Version {
            major: 0,
            minor: 1,
            capabilities: Capabilities {
                max_msg_fds: 16,
                max_data_xfer_size: 1 << 20,
                ..Capabilities::default()
            },
        };
        let theirs = self.ask(&Command::Version(ours), &[], 0, Version::parse);
        match theirs {
            Ok(theirs) => {
                self.server = theirs.capabilities;
                Ok(())
            }
            Err(errno) => Err(match self.failure {
                Some(ClientError::Reply { error, .. }) => ClientError::Version(error),
                Some(failure) => failure,
                None => ClientError::Version(ReplyError::Refused(errno)),
            }),
        }
    }

    /// Returns how many bytes are moved by one message.
    fn chunk(&self) -> usize {
        let most = self.server.max_data_xfer_size;
        usize::try_from(most).unwrap_or(CHUNK).clamp(1, CHUNK)
    }

    pub(super) fn region_read(
        &mut self,
        region: u32,
        at: u64,
        data: &mut [u8],
    ) -> Result<(), Errno> {
        let mut offset = at;
        for data in data.chunks_mut(self.chunk()) {
            let count = u32::try_from(data.len()).map_err(|_| Errno::E2BIG)?;
            let access = RegionAccess {
                offset,
                region,
                count,
            };
            let expected = message_len(data.len());
            self.ask(&Command::RegionRead(access), &[], expected, |body| {
                for (to, from) in data.iter_mut().zip(access.data(body)?) {
                    *to = *from;
                }
                Ok(())
            })?;
            offset = offset.checked_add(count.into()).ok_or(Errno::EOVERFLOW)?;
        }
        Ok(())
    }

    pub(super) fn region_write(&mut self, region: u32, at: u64, data: &[u8]) -> Result<(), Errno> {
        let mut offset = at;
        for data in data.chunks(self.chunk()) {
            let count = u32::try_from(data.len()).map_err(|_| Errno::E2BIG)?;
            let access = RegionAccess {
                offset,
                region,
                count,
            };
            let command = Command::RegionWrite { access, data };
            self.ask(&command, &[], message_len(0), |body| {
                access.check_written(body)
            })?;
            offset = offset.checked_add(count.into()).ok_or(Errno::EOVERFLOW)?;
        }
        Ok(())
    }

    /// Asks the server something, whose answer is about `expected` bytes long, and does what the server asks for
    /// until it answers.
    pub(super) fn ask<T>(
        &mut self,
        command: &Command<'_>,
        fds: &[BorrowedFd<'_>],
        expected: usize,
        take: impl FnOnce(&[u8]) -> Result<T, MessageError>,
    ) -> Result<T, Errno> {
        if let Some(failure) = self.failure {
            return Err(failure.errno());
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let len = command.emit(&mut self.out, id).map_err(|_| Errno::E2BIG)?;
        let deadline = self.deadline();
        let message = self.out.get(..len).unwrap_or_default();
        let answered = self
            .channel
            .send(message, fds, deadline)
            .map_err(ClientError::Channel)
            .and_then(|()| self.answer(id, command.id(), expected, deadline, take));
        match answered {
            Ok(answer) => answer,
            Err(failure) => Err(self.fail(failure)),
        }
    }

    /// Waits for an answer; an inner error is a refusal.
    fn answer<T>(
        &mut self,
        id: u16,
        command: CommandId,
        expected: usize,
        deadline: Instant,
        take: impl FnOnce(&[u8]) -> Result<T, MessageError>,
    ) -> Result<Result<T, Errno>, ClientError> {
        // Those beside an answer that was not looked for.
        drop(self.channel.take_fds());
        loop {
            while let Some(message) = self.channel.frames().next().map_err(ChannelError::Frame)? {
                if message.header.message_type() == Some(MessageType::Command) {
                    let asked = Asked::read(&message)?;
                    self.do_asked(asked, deadline)?;
                    continue;
                }
                return match message.answer(id, command) {
                    Ok(body) => take(body).map(Ok).map_err(ReplyError::from),
                    Err(ReplyError::Refused(errno)) => Ok(Err(errno)),
                    Err(error) => Err(error),
                }
                .map_err(|error| ClientError::Reply { command, error });
            }
            self.channel.receive(expected, Wait::Socket)?;
            if Instant::now() >= deadline {
                return Err(ChannelError::Late.into());
            }
        }
    }

    /// Does what the server asks for, as far as that has arrived, without waiting.
    pub(super) fn attend(&mut self) -> Result<(), Errno> {
        if let Some(failure) = self.failure {
            return Err(failure.errno());
        }
        self.attend_all().map_err(|failure| self.fail(failure))
    }

    fn attend_all(&mut self) -> Result<(), ClientError> {
        let deadline = self.deadline();
        loop {
            // Some may have come behind an answer.
            while let Some(message) = self.channel.frames().next().map_err(ChannelError::Frame)? {
                let asked = Asked::read(&message)?;
                self.do_asked(asked, deadline)?;
            }
            if !self.channel.receive(0, Wait::No)? {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(ChannelError::Late.into());
            }
        }
    }

    /// Does what the server asks for: to read or write memory.
    fn do_asked(&mut self, asked: Asked, deadline: Instant) -> Result<(), ClientError> {
        let Asked { header, what } = asked;
        let done = match what {
            What::Read(access) => self.asked_read(&header, access),
            What::Write { access, data } => self
                .space
                .write(&access, &data)
                .map(|()| reply(&mut self.out, &header, &[access.as_bytes()])),
            What::Unknown(errno) => Err(errno),
        };
        if !header.wants_reply() {
            return Ok(());
        }
        match done {
            Ok(Ok(len)) => {
                let message = self.out.get(..len).unwrap_or_default();
                self.channel.send(message, &[], deadline)?;
            }
            Ok(Err(_)) => self
                .channel
                .send(&error_reply(&header, Errno::E2BIG), &[], deadline)?,
            Err(errno) => self
                .channel
                .send(&error_reply(&header, errno), &[], deadline)?,
        }
        Ok(())
    }

    fn asked_read(
        &mut self,
        header: &Header,
        access: DmaAccess,
    ) -> Result<Result<usize, vfio_core::wire::vfio_user::NoRoom>, Errno> {
        let len = usize::try_from(access.count).map_err(|_| Errno::E2BIG)?;
        if len > MAX_TRANSFER {
            return Err(Errno::E2BIG);
        }
        let mut data = vec![0; len];
        self.space.read(&access, &mut data)?;
        Ok(reply(&mut self.out, header, &[access.as_bytes(), &data]))
    }

    /// Takes the descriptors that came beside the last answer.
    pub(super) fn take_fds(&mut self) -> Vec<OwnedFd> {
        self.channel.take_fds()
    }

    fn deadline(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.options.patience).unwrap_or(now)
    }

    /// Gives the server up, for the first reason that there is.
    fn fail(&mut self, failure: ClientError) -> Errno {
        self.failure.get_or_insert(failure).errno()
    }
}

/// What the server asks for, taken out of the buffer into which its messages go.
struct Asked {
    header: Header,
    what: What,
}

enum What {
    Read(DmaAccess),
    Write { access: DmaAccess, data: Vec<u8> },
    Unknown(Errno),
}

impl Asked {
    fn read(message: &Message<'_>) -> Result<Self, ClientError> {
        let header = message.header;
        let what = match Command::parse(message) {
            Ok(Command::DmaRead(access)) => What::Read(access),
            Ok(Command::DmaWrite { access, data }) => What::Write {
                access,
                data: data.to_vec(),
            },
            Ok(_) => What::Unknown(Errno::EINVAL),
            // A reply that nobody waits for.
            Err(error @ MessageError::Type { .. }) => return Err(ClientError::Command(error)),
            Err(error) => What::Unknown(error.errno()),
        };
        Ok(Self { header, what })
    }
}
