//! Serves a model to other processes.

mod command;
mod device;
mod error;
mod interrupts;
mod memory;
mod messages;
mod root;
mod session;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SocketFlags, accept_with};
use vfio_core::sys::Errno;

use crate::linux::errno;
use crate::model::{Fault, Model};
use device::Device;
pub use error::{Ended, ServeError};
use session::Session;

use super::socket::ChannelError;

/// A device that other processes drive, one after the other.
pub struct Server {
    listener: UnixListener,
    /// The socket's path, which goes with the server.
    path: PathBuf,
    device: Device,
    limits: Limits,
    /// What stops the server when it can be read.
    stop: Option<OwnedFd>,
}

/// How much a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a client may take to say its version, to end a message that it began, to answer,
    /// and to read what it is sent.
    pub patience: Duration,
    /// How many mappings of memory it may have at a time. Each may take a descriptor.
    pub max_dma_maps: usize,
    /// How many descriptors may come beside a message.
    pub max_msg_fds: usize,
}

/// What there is to say of a client that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How its connection ended.
    pub ended: Ended,
    /// How many messages it sent.
    pub messages: u64,
    /// How many transfers of the device were refused: nothing was mapped there, say.
    pub faults: u64,
    /// The last of these.
    pub last_fault: Option<Fault>,
}

/// How many bytes a message moves at most.
const MAX_TRANSFER: usize = 1 << 20;

/// How many steps a device goes on without rest that always has more to do.
const EAGER: u32 = 10_000;

/// How long it rests then.
const REST: Duration = Duration::from_millis(1);

/// What the server woke for.
enum Woken {
    Client,
    Other,
    Stop,
}

impl Server {
    /// Makes the socket `path` and serves `model` on it to who may write to the socket.
    ///
    /// A socket that a server left behind, which nobody serves any more, is taken over.
    ///
    /// # Errors
    /// [`ServeError::Bind`], [`ServeError::InUse`]
    pub fn bind(path: &Path, model: Model) -> Result<Self, ServeError> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                if UnixStream::connect(path).is_ok() {
                    return Err(ServeError::InUse);
                }
                std::fs::remove_file(path).map_err(ServeError::Bind)?;
                UnixListener::bind(path)
            }
            bound => bound,
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(Self {
            listener: listener.map_err(ServeError::Bind)?,
            path: path.to_path_buf(),
            device: Device::new(&name, model),
            limits: Limits::default(),
            stop: None,
        })
    }

    /// Gives clients other limits.
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Stops the server, within a client or between two, once `event` can be read.
    #[must_use]
    pub fn with_stop(mut self, event: OwnedFd) -> Self {
        self.stop = Some(event);
        self
    }

    /// Waits for a client and serves it until it leaves; others are hung up on meanwhile. None where the server was
    /// stopped before one came.
    ///
    /// # Errors
    /// [`ServeError::Accept`]
    pub fn serve_one(&mut self) -> Result<Option<Summary>, ServeError> {
        loop {
            let listener = self.listener.as_fd();
            match self.wait(listener, None) {
                Ok(Some(Woken::Stop)) => return Ok(None),
                Ok(Some(Woken::Client)) => (),
                Ok(_) => continue,
                Err(errno) => return Err(ServeError::Accept(errno)),
            }
            match accept(&self.listener) {
                Ok(socket) => return self.serve_client(socket).map(Some),
                // It has left already, or no descriptor is free for it at the moment.
                Err(Errno::ECONNRESET | Errno::EAGAIN) => (),
                Err(Errno::EMFILE | Errno::ENFILE) => std::thread::sleep(REST),
                Err(errno) => return Err(ServeError::Accept(errno)),
            }
        }
    }

    /// Serves the client at the other end of a connected socket until it leaves.
    ///
    /// # Errors
    /// [`ServeError::Accept`] where the socket is none.
    pub fn serve_client(&mut self, socket: OwnedFd) -> Result<Summary, ServeError> {
        let session = Session::new(socket, &self.limits);
        let mut session = session.map_err(ServeError::Accept)?;
        self.device.faults = device::Faults::default();
        let messages = self.run(&mut session);
        drop_all(&mut session);
        self.device.leave();
        let faults = std::mem::take(&mut self.device.faults);
        Ok(Summary {
            ended: session.ended().unwrap_or(Ended::Left),
            messages,
            faults: faults.count,
            last_fault: faults.last,
        })
    }

    /// Serves a client; returns how many messages it sent.
    fn run(&mut self, session: &mut Session) -> u64 {
        let mut messages = 0_u64;
        let mut eager = 0;
        // When the client began what it has to end in time.
        let mut begun = Some(Instant::now());
        while session.ended().is_none() {
            let next = session.next();
            let is_new = next.is_some();
            if let Some(received) = next {
                messages = messages.saturating_add(1);
                command::serve(&mut self.device, session, &self.limits, received);
            }
            let is_busy = self.device.advance(session);
            eager = if is_busy && !is_new {
                u32::saturating_add(eager, 1)
            } else {
                0
            };
            if is_new {
                begun = None;
            }
            // The device may have waited for an answer of the client's: in vain, or while commands came.
            if is_new || session.is_waiting() || session.ended().is_some() {
                continue;
            }
            let is_due = session.client.is_none() || session.channel.frames().is_amid();
            begun = is_due.then(|| begun.unwrap_or_else(Instant::now));
            let left = begun.map(|begun| self.limits.patience.saturating_sub(begun.elapsed()));
            if left == Some(Duration::ZERO) {
                session.end(Ended::Channel(ChannelError::Late));
                break;
            }
            let timeout = match (is_busy, eager >= EAGER) {
                (true, false) => Some(Duration::ZERO),
                (true, true) => Some(REST),
                (false, _) => left,
            };
            self.attend(session, timeout);
        }
        messages
    }

    /// Waits until something is to be done, and does what is not the client's command.
    fn attend(&mut self, session: &mut Session, timeout: Option<Duration>) {
        match self.wait(session.channel.as_fd(), timeout) {
            Ok(Some(Woken::Stop)) => session.end(Ended::Stopped),
            Ok(Some(Woken::Other)) => {
                self.device.interrupts.unmask_by_event();
                // One client at a time: another one is hung up on, rather than left to wait.
                drop(accept(&self.listener));
            }
            Ok(Some(Woken::Client) | None) => (),
            Err(errno) => session.end(Ended::Channel(ChannelError::Errno(errno))),
        }
    }

    /// Waits until `first` can be read, another client comes, an event unmasks INTx, or it is time to stop.
    fn wait(
        &self,
        first: BorrowedFd<'_>,
        timeout: Option<Duration>,
    ) -> Result<Option<Woken>, Errno> {
        let of = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let listener = self.listener.as_fd();
        let unmask = self.device.interrupts.unmask_event();
        let unmask = unmask.map_or(listener, AsFd::as_fd);
        let stop = self.stop.as_ref().map_or(first, AsFd::as_fd);
        let mut fds = [of(first), of(listener), of(unmask), of(stop)];
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok(None),
            polled => polled.map_err(errno)?,
        };
        // Who has left before the server is stopped is said to have left.
        let [has_left, ..] = fds
            .each_ref()
            .map(|fd| fd.revents().contains(PollFlags::HUP));
        let [first, listener, unmask, stop] = fds.map(|fd| !fd.revents().is_empty());
        Ok(if stop && self.stop.is_some() && !has_left {
            Some(Woken::Stop)
        } else if first {
            Some(Woken::Client)
        } else {
            (listener || unmask).then_some(Woken::Other)
        })
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(5),
            max_dma_maps: 512,
            max_msg_fds: 16,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing can be done where it is gone already.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("path", &self.path)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Gives the client's memory back before its device is reset.
fn drop_all(session: &mut Session) {
    session.memory = memory::ClientMemory::with_room(0);
}

/// Takes the next client, without waiting for one.
fn accept(listener: &UnixListener) -> Result<OwnedFd, Errno> {
    let ready = {
        let mut fds = [PollFd::new(listener, PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut fds, Some(&now)).map_err(errno)?
    };
    if ready == 0 {
        return Err(Errno::EAGAIN);
    }
    accept_with(listener, SocketFlags::CLOEXEC).map_err(errno)
}
