//! vfio-user: devices that one process has and another one drives, over a UNIX stream socket.
//!
//! - [`Server`] serves a [`Model`](crate::model::Model) to whoever connects, one client after the
//!   other.
//! - [`VfioUser`] is the shim ([`Sys`](vfio_core::sys::Sys)) over the socket of such a server, ours or
//!   another's: drivers run over it as over the kernel.
//!
//! Neither trusts the other side. What breaks the protocol, stays silent or asks for too much is
//! told by a typed error, or hung up on; memory and descriptors are bounded.
//!
//! ```
//! use std::thread;
//! use vfio_core::open::{Mode, Place, Session};
//! use vfio_hosted::{model, vfio_user::{Server, VfioUser}};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("edu");
//! let mut server = Server::bind(&path, model::edu())?;
//! let serving = thread::spawn(move || server.serve_one());
//!
//! let sys = VfioUser::new();
//! let socket = std::ffi::CString::new(path.into_os_string().into_encoded_bytes())?;
//! let place = Place { name: c"edu", socket: Some(&socket), ..Place::default() };
//! let session = Session::open_in(Mode::VfioUser, &sys, &place)?;
//! let mut reply = [0; 64];
//! assert_eq!(session.device.region(0, &mut reply)?.size, 1 << 20);
//! drop(session);
//! assert!(serving.join().unwrap().is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

mod client;
mod memory_file;
mod server;
mod socket;

pub use client::{ClientError, Fd, Mapping, MappingError, Memory, Options, VfioUser};
pub use server::{Ended, Limits, ServeError, Server, Summary};
pub use socket::ChannelError;
