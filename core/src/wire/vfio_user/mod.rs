//! vfio-user: VFIO carried over a UNIX stream socket, so that a device can be another process.
//!
//! The source is the specification (QEMU's `docs/interop/vfio-user.rst`) and libvfio-user's
//! `vfio-user.h`, version 0.x of the protocol. Numbers are in the byte order of the host. Nothing here
//! reads or writes a socket: bytes come in and go out through buffers that the caller lends.
//!
//! - [`Frames`]: takes a stream apart into messages, however it is cut.
//! - [`Command`]: what one side asks of the other, parsed and written.
//! - [`Message::answer`]: a reply, checked against what was asked.
//! - [`Version`]: the first exchange, in which both sides say what they can.
//!
//! Answers of the INFO commands are those of the kernel, and are read and written by the same
//! code ([`info`](super::info), [`server`](super::server)).
//!
//! ```
//! use vfio_core::wire::vfio_user::{Command, Frames, RegionAccess};
//!
//! let asked = Command::RegionRead(RegionAccess { offset: 8, region: 0, count: 4 });
//! let mut message = [0; 64];
//! let len = asked.emit(&mut message, 7)?;
//!
//! // The other side hears it in two pieces.
//! let mut frames = Frames::new([0; 64]);
//! for piece in [&message[..5], &message[5..len]] {
//!     frames.space()[..piece.len()].copy_from_slice(piece);
//!     frames.fill(piece.len());
//! }
//! let heard = frames.next().unwrap().unwrap();
//! assert_eq!(heard.header.id, 7);
//! assert_eq!(Command::parse(&heard).unwrap(), asked);
//! # Ok::<(), vfio_core::wire::vfio_user::NoRoom>(())
//! ```
#![forbid(unsafe_code)]

mod answer;
mod body;
mod command;
mod error;
mod frame;
mod header;
mod json;
mod version;

pub use answer::{DmaWritten, ReplyError, error_reply, reply};
pub use body::{
    DmaAccess, DmaMap, DmaMapFlags, DmaUnmap, DmaUnmapFlags, IoFdsHead, Ioeventfd, IoeventfdType,
    MigrationData, RegionAccess, VersionHead, Write,
};
pub use command::{Command, Writes};
pub use error::{MessageError, NoRoom};
pub use frame::{FrameError, Frames, Message};
pub use header::{CommandId, Header, HeaderFlags, MessageType};
pub use json::JsonFault;
pub use version::{Capabilities, Migration, TwinSocket, Version, VersionError};

/// Bytes of a message's header.
pub const HEADER_LEN: usize = size_of::<Header>();

/// Returns the length of a message that moves `data` bytes of a region or of memory.
#[must_use]
pub const fn message_len(data: usize) -> usize {
    HEADER_LEN
        .saturating_add(size_of::<RegionAccess>())
        .saturating_add(data)
}
