//! The shim over the socket of a server.

mod connection;
mod duties;
mod error;
mod irqs;
mod mapping;
mod memory;
mod regions;
mod requests;
mod space;
#[expect(unsafe_code, reason = "the trait has methods that are unsafe to call")]
mod sys;

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use std::vec::Vec;

use crate::lock::lock;
use connection::Connection;
pub use error::ClientError;
pub use mapping::{Mapping, MappingError};
pub use memory::Memory;

/// The shim over the sockets of servers: [`Sys::open`](vfio_core::sys::Sys::open) connects to the one at a
/// path, and [`Session::open_in`](vfio_core::open::Session::open_in) opens its device.
///
/// What vfio-pci does for its users by itself is done here: INTx is off from the start, BARs get addresses, and MSI and
/// MSI-X are enabled with their events. BARs can be mapped whole: where the server offers no mapping, an
/// access is a message.
///
/// # What the server may do
///
/// Memory of [`Sys::memory`](vfio_core::sys::Sys::memory) that is mapped for the device is a file which the server is
/// given, to read and to write, whatever the mapping permits; none of it is Rust's to use otherwise. Other memory the
/// server asks for by message, which is answered while one of its answers is awaited, while events are waited for and
/// whenever the clock is looked at.
///
/// A server that is silent, hangs up or breaks the protocol fails what is asked of it from then on, within
/// [`Options::patience`]; [`VfioUser::failure`] says why.
#[derive(Clone, Debug, Default)]
pub struct VfioUser {
    options: Options,
    open: Arc<Open>,
}

/// How servers are dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long an answer may take.
    pub patience: Duration,
    /// Whether regions are mapped though their server could cut the file short: an access then ends the process
    /// (`SIGBUS`). Files that are sealed against it are always mapped. Most servers do not seal theirs.
    pub maps_unsealed: bool,
    /// Whether servers are given the files that memory is in; otherwise they ask for it by message.
    pub shares_memory: bool,
}

/// What is open at a server: a connection, as a container or as its device. Dropping the last hangs up.
#[derive(Debug)]
pub struct Fd {
    connection: Arc<Connection>,
    role: Role,
    /// Where it is said why the server failed.
    open: Arc<Open>,
}

/// What a file is asked as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Container,
    Device,
}

/// The connections that are open, and why the last one failed.
#[derive(Debug, Default)]
struct Open {
    connections: Mutex<Vec<Weak<Connection>>>,
    failure: Mutex<Option<ClientError>>,
}

impl VfioUser {
    /// Makes the shim with the options that suit most.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the shim with other options, for what is opened from then on.
    #[must_use]
    pub fn with_options(options: Options) -> Self {
        Self {
            options,
            open: Arc::default(),
        }
    }

    /// Connects to a server by a socket that is connected already.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn connect(&self, socket: OwnedFd) -> Result<Fd, ClientError> {
        self.opened(Connection::over(socket, self.options))
    }

    /// Returns why a server can't be talked to any more, or could not be connected to: the last one that was so.
    #[must_use]
    pub fn failure(&self) -> Option<ClientError> {
        let live = self.open.connections();
        let failed = live.iter().rev().find_map(|open| open.link().failure());
        failed.or_else(|| *lock(&self.open.failure))
    }

    /// Keeps track of a connection.
    fn opened(&self, connected: Result<Connection, ClientError>) -> Result<Fd, ClientError> {
        let connection = connected.inspect_err(|error| {
            *lock(&self.open.failure) = Some(*error);
        })?;
        let connection = Arc::new(connection);
        let mut connections = lock(&self.open.connections);
        connections.retain(|open| open.strong_count() > 0);
        connections.push(Arc::downgrade(&connection));
        Ok(Fd {
            connection,
            role: Role::Container,
            open: Arc::clone(&self.open),
        })
    }
}

impl Open {
    fn connections(&self) -> Vec<Arc<Connection>> {
        let connections = lock(&self.connections);
        connections.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(5),
            maps_unsealed: false,
            shares_memory: true,
        }
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        if let Some(failure) = self.connection.link().failure() {
            *lock(&self.open.failure) = Some(failure);
        }
    }
}
