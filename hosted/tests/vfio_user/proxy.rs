//! Between a client and a server that both keep the rules: what changes their messages.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use vfio_core::wire::vfio_user::{CommandId, HEADER_LEN, Message};

/// A message on its way.
pub(crate) struct Passing {
    pub(crate) bytes: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
}

/// What becomes of a message.
pub(crate) enum Fate {
    /// It arrives, as it is by now.
    Arrives,
    /// It arrives in pieces of so many bytes.
    InPieces(usize),
    /// So many bytes of it arrive, and nothing more ever.
    Stops(usize),
    /// So many bytes of it arrive, and the socket is closed.
    HangsUp(usize),
    /// These bytes arrive before it, to which so many replies come.
    Behind(Vec<u8>, usize),
    /// These bytes arrive again and again in its place.
    Flood(Vec<u8>),
}

/// Decides on messages of one command.
pub(crate) type Change = fn(&mut Passing) -> Fate;

/// Stands between clients and a server, at a socket of its own.
pub(crate) struct Proxy {
    path: PathBuf,
    thread: JoinHandle<()>,
}

impl Proxy {
    /// Changes the first reply to `command` of one client by `change`.
    pub(crate) fn new(folder: &Path, server: &Path, command: CommandId, change: Change) -> Self {
        let path = folder.join("proxy");
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let server = server.to_path_buf();
        let thread = std::thread::spawn(move || {
            let (client, _) = listener.accept().unwrap();
            let server = UnixStream::connect(server).unwrap();
            between(&client, &server, command, change);
        });
        Self { path, thread }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until both sides are gone.
    pub(crate) fn end(self) {
        self.thread.join().unwrap();
    }
}

/// Passes messages on: one of the client's, and its reply.
fn between(client: &UnixStream, server: &UnixStream, command: CommandId, change: Change) {
    let mut is_changed = false;
    while let Some(asked) = receive(client) {
        send(server, &asked.bytes, &asked.fds);
        let Some(mut reply) = receive(server) else {
            return;
        };
        let header = Message::read(&reply.bytes).unwrap().header;
        if header.command != command || is_changed {
            send(client, &reply.bytes, &reply.fds);
            continue;
        }
        is_changed = true;
        match change(&mut reply) {
            Fate::Arrives => send(client, &reply.bytes, &reply.fds),
            Fate::InPieces(len) => {
                let mut fds = &reply.fds[..];
                for piece in reply.bytes.chunks(len) {
                    send(client, piece, fds);
                    fds = &[];
                    std::thread::sleep(Duration::from_micros(100));
                }
            }
            Fate::Stops(len) => send(client, &reply.bytes[..len], &reply.fds),
            Fate::HangsUp(len) => return send(client, &reply.bytes[..len], &reply.fds),
            Fate::Behind(bytes, replies) => {
                send(client, &[&bytes[..], &reply.bytes].concat(), &reply.fds);
                for _ in 0..replies {
                    drop(receive(client));
                }
            }
            Fate::Flood(bytes) => {
                while try_send(client, &bytes, &[]) {}
                return;
            }
        }
    }
}

/// Receives a whole message; none where the other side is gone.
pub(crate) fn receive(socket: &UnixStream) -> Option<Passing> {
    let mut passing = Passing {
        bytes: vec![],
        fds: vec![],
    };
    let mut wanted = HEADER_LEN;
    while passing.bytes.len() < wanted {
        let mut bytes = vec![0; wanted - passing.bytes.len()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let parts = &mut [IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let len = recvmsg(socket, parts, &mut ancillary, flags).ok()?.bytes;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                passing.fds.extend(fds);
            }
        }
        if len == 0 {
            return None;
        }
        passing.bytes.extend(&bytes[..len]);
        if let Some(message) = Message::read(&passing.bytes) {
            wanted = usize::try_from(message.header.size).unwrap();
        }
    }
    Some(passing)
}

/// Sends bytes, and descriptors beside them; who is gone does not hear them.
pub(crate) fn send(socket: &UnixStream, bytes: &[u8], fds: &[OwnedFd]) {
    let _ = try_send(socket, bytes, fds);
}

fn try_send(socket: &UnixStream, bytes: &[u8], fds: &[OwnedFd]) -> bool {
    let fds: Vec<BorrowedFd<'_>> = fds.iter().map(|fd| fd.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        let sent = sendmsg(
            socket,
            &[IoSlice::new(rest)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        );
        let Ok(len) = sent else {
            return false;
        };
        ancillary.clear();
        rest = &rest[len..];
    }
    true
}
