//! What the server has of one client: its socket, its memory, and what it can.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use std::vec;
use std::vec::Vec;

use vfio_core::sys::Errno;
use vfio_core::wire::vfio_user::{
    Capabilities, Command, CommandId, DmaAccess, DmaMapFlags, DmaWritten, Header, Message,
    MessageError, MessageType, ReplyError, error_reply, message_len, reply,
};

use super::error::Ended;
use super::memory::{ClientMemory, Piece};
use super::{Limits, MAX_TRANSFER};
use crate::model::Refusal;
use crate::vfio_user::socket::{Channel, ChannelError, Wait};

/// One client.
pub(super) struct Session {
    pub(super) channel: Channel,
    pub(super) memory: ClientMemory,
    /// What the client can; none before it has said its version.
    pub(super) client: Option<Capabilities>,
    /// Commands that came while an answer was waited for.
    waiting: VecDeque<Received>,
    waiting_bytes: usize,
    /// Why nothing more is done for the client.
    ended: Option<Ended>,
    next_id: u16,
    patience: Duration,
    out: Vec<u8>,
}

/// A whole message, and the descriptors beside it.
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    pub(super) fds: Vec<OwnedFd>,
}

/// How many bytes of memory are asked for in one message: both sides can send as many at the same time, and neither
/// waits for the other to read.
const CHUNK: usize = 64 << 10;

/// How many commands are kept while an answer is waited for.
const WAITING_MOST: usize = 256;

impl Session {
    pub(super) fn new(socket: OwnedFd, limits: &Limits) -> Result<Self, Errno> {
        let longest = message_len(MAX_TRANSFER);
        let channel = Channel::new(socket, longest, limits.max_msg_fds, limits.patience)?;
        Ok(Self {
            channel,
            memory: ClientMemory::with_room(limits.max_dma_maps),
            client: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            ended: None,
            next_id: 0,
            patience: limits.patience,
            out: vec![0; longest],
        })
    }

    /// Returns why nothing more is done for the client, where that is so.
    pub(super) const fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// Tells whether commands were kept that came before an answer.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Ends it, for the first reason that there is.
    pub(super) fn end(&mut self, why: Ended) {
        self.ended.get_or_insert(why);
    }

    /// Takes the next message, where one is there; never waits.
    pub(super) fn next(&mut self) -> Option<Received> {
        if let Some(received) = self.waiting.pop_front() {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(received.bytes.len());
            return Some(received);
        }
        while self.ended.is_none() {
            match self.arrived() {
                Ok(None) => (),
                Ok(Some(received)) => return Some(received),
                Err(error) => {
                    self.end(error.into());
                    break;
                }
            }
            match self.channel.receive(0, Wait::No) {
                Ok(true) => (),
                Ok(false) => break,
                Err(error) => self.end(error.into()),
            }
        }
        None
    }

    /// Takes a message that has arrived as a whole.
    fn arrived(&mut self) -> Result<Option<Received>, ChannelError> {
        let frames = self.channel.frames();
        let Some(message) = frames.next().map_err(ChannelError::Frame)? else {
            return Ok(None);
        };
        // What is in a buffer of the reader's own is overwritten by what is read next.
        let mut bytes = vec![0; message_len(0).max(16).saturating_add(message.body.len())];
        let len = message.header.emit(&mut bytes, &[message.body]);
        bytes.truncate(len.unwrap_or(0));
        let fds = self.channel.take_fds();
        Ok(Some(Received { bytes, fds }))
    }

    /// Answers a command.
    pub(super) fn reply(&mut self, to: &Header, parts: &[&[u8]]) {
        let deadline = self.deadline();
        let sent = match reply(&mut self.out, to, parts) {
            Ok(len) => {
                let message = self.out.get(..len).unwrap_or_default();
                self.channel.send(message, &[], deadline)
            }
            Err(_) => self
                .channel
                .send(&error_reply(to, Errno::E2BIG), &[], deadline),
        };
        if let Err(error) = sent {
            self.end(error.into());
        }
    }

    /// Refuses a command.
    pub(super) fn refuse(&mut self, to: &Header, errno: Errno) {
        let sent = self
            .channel
            .send(&error_reply(to, errno), &[], self.deadline());
        if let Err(error) = sent {
            self.end(error.into());
        }
    }

    /// Reads memory of the client, all of it or nothing.
    pub(super) fn dma_read(&mut self, address: u64, data: &mut [u8]) -> Result<(), Refusal> {
        let pieces = self.memory.pieces(address, data.len(), DmaMapFlags::READ)?;
        let mut whole = vec![0; data.len()];
        let mut rest = &mut whole[..];
        for piece in pieces {
            let (part, left) = rest.split_at_mut_checked(piece.len).unwrap_or_default();
            rest = left;
            match self.memory.read(&piece, part) {
                Some(done) => done?,
                None => self.ask_read(&piece, part)?,
            }
        }
        data.copy_from_slice(&whole);
        Ok(())
    }

    /// Writes memory of the client.
    pub(super) fn dma_write(&mut self, address: u64, data: &[u8]) -> Result<(), Refusal> {
        let pieces = self
            .memory
            .pieces(address, data.len(), DmaMapFlags::WRITE)?;
        let mut rest = data;
        for piece in pieces {
            let (part, left) = rest.split_at_checked(piece.len).unwrap_or_default();
            rest = left;
            match self.memory.write(&piece, part) {
                Some(done) => done?,
                None => self.ask_write(&piece, part)?,
            }
        }
        Ok(())
    }

    /// Has the client read a piece of its memory.
    fn ask_read(&mut self, piece: &Piece, data: &mut [u8]) -> Result<(), Refusal> {
        let mut address = piece.address;
        for chunk in data.chunks_mut(self.chunk()) {
            let count = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            let access = DmaAccess { address, count };
            let take = |body: &[u8]| {
                chunk.copy_from_slice(access.data(body)?);
                Ok(())
            };
            self.ask(&Command::DmaRead(access), take)
                .map_err(|()| piece.refusal())?;
            address = address.saturating_add(count);
        }
        Ok(())
    }

    /// Has the client write a piece of its memory.
    fn ask_write(&mut self, piece: &Piece, data: &[u8]) -> Result<(), Refusal> {
        let mut address = piece.address;
        for data in data.chunks(self.chunk()) {
            let count = u64::try_from(data.len()).unwrap_or(u64::MAX);
            let access = DmaAccess { address, count };
            let check = |body: &[u8]| DmaWritten::parse(body)?.check(&access);
            self.ask(&Command::DmaWrite { access, data }, check)
                .map_err(|()| piece.refusal())?;
            address = address.saturating_add(count);
        }
        Ok(())
    }

    fn chunk(&self) -> usize {
        let most = self.client.unwrap_or_default().max_data_xfer_size;
        usize::try_from(most).unwrap_or(CHUNK).clamp(1, CHUNK)
    }

    /// Asks the client something, and keeps the commands that come before its answer.
    fn ask(
        &mut self,
        command: &Command<'_>,
        take: impl FnOnce(&[u8]) -> Result<(), MessageError>,
    ) -> Result<(), ()> {
        if self.ended.is_some() {
            return Err(());
        }
        let deadline = self.deadline();
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let answered = match command.emit(&mut self.out, id) {
            Err(_) => return Err(()),
            Ok(len) => {
                let message = self.out.get(..len).unwrap_or_default();
                let sent = self.channel.send(message, &[], deadline);
                sent.map_err(Ended::from)
                    .and_then(|()| self.answer(id, command.id(), deadline, take))
            }
        };
        match answered {
            Ok(done) => done,
            Err(ended) => {
                self.end(ended);
                Err(())
            }
        }
    }

    /// Waits for an answer. An inner error is that of a client which refuses.
    fn answer(
        &mut self,
        id: u16,
        command: CommandId,
        deadline: Instant,
        take: impl FnOnce(&[u8]) -> Result<(), MessageError>,
    ) -> Result<Result<(), ()>, Ended> {
        loop {
            while let Some(received) = self.arrived()? {
                let message = Message::read(&received.bytes);
                let Some(message) = message else {
                    continue;
                };
                if message.header.message_type() != Some(MessageType::Reply) {
                    self.keep(received)?;
                    continue;
                }
                return match message.answer(id, command) {
                    Ok(body) => take(body)
                        .map(Ok)
                        .map_err(|error| Ended::Reply(error.into())),
                    Err(ReplyError::Refused(_)) => Ok(Err(())),
                    Err(error) => Err(Ended::Reply(error)),
                };
            }
            self.channel.receive(0, Wait::Socket)?;
            if Instant::now() >= deadline {
                return Err(ChannelError::Late.into());
            }
        }
    }

    /// Keeps a command for later.
    fn keep(&mut self, received: Received) -> Result<(), Ended> {
        let bytes = self.waiting_bytes.saturating_add(received.bytes.len());
        if self.waiting.len() >= WAITING_MOST || bytes > message_len(MAX_TRANSFER) {
            return Err(Ended::Flood);
        }
        self.waiting_bytes = bytes;
        self.waiting.push_back(received);
        Ok(())
    }

    fn deadline(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.patience).unwrap_or(now)
    }
}
