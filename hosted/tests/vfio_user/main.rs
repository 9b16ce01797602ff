//! vfio-user: drivers over the socket, and peers that break every rule.

mod driven;
mod hostile_client;
mod hostile_info;
mod hostile_server;
mod peer;
mod proxy;

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;
use vfio_core::open::{Mode, Place, Session, SessionError};
use vfio_hosted::model::Model;
use vfio_hosted::vfio_user::{Limits, Options, Server, Summary, VfioUser};

/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_millis(300);

/// What a wait may take on a busy machine.
const SOON: Duration = Duration::from_secs(5);

/// A server of a model in this process.
struct Serving {
    folder: TempDir,
    stop: rustix::fd::OwnedFd,
    thread: JoinHandle<Vec<Summary>>,
}

impl Serving {
    fn new(model: Model) -> Self {
        Self::with_room(model, 64)
    }

    /// Lets a client have so many mappings.
    fn with_room(model: Model, max_dma_maps: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let flags = rustix::event::EventfdFlags::CLOEXEC;
        let stop = rustix::event::eventfd(0, flags).unwrap();
        let limits = Limits {
            patience: PATIENCE,
            max_dma_maps,
            ..Limits::default()
        };
        let mut server = Server::bind(&folder.path().join("socket"), model)
            .unwrap()
            .with_limits(limits)
            .with_stop(stop.try_clone().unwrap());
        let thread = std::thread::spawn(move || {
            let mut clients = vec![];
            while let Some(summary) = server.serve_one().unwrap() {
                clients.push(summary);
            }
            clients
        });
        Self {
            folder,
            stop,
            thread,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Stops the server, and returns what it has to say of its clients.
    fn stop(self) -> Vec<Summary> {
        rustix::io::write(&self.stop, &1_u64.to_ne_bytes()).unwrap();
        self.thread.join().unwrap()
    }
}

/// Returns the shim, with little patience.
fn sys() -> VfioUser {
    VfioUser::with_options(Options {
        patience: PATIENCE,
        ..Options::default()
    })
}

fn open(sys: &VfioUser, path: &Path) -> Result<Session<VfioUser>, SessionError> {
    let socket = CString::new(path.as_os_str().as_bytes()).unwrap();
    let place = Place {
        name: c"device",
        socket: Some(&socket),
        ..Place::default()
    };
    Session::open_in(Mode::VfioUser, sys, &place)
}

/// Keeps other tests of this program from opening files meanwhile.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns how many files the process has open.
fn files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
