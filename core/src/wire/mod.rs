//! The parsing half: bytes, and nothing that asks anybody.
//!
//! What the kernel answers is read from the caller's buffers, and what a kernel would answer is
//! written to them. Nothing here makes a system call, allocates, panics, or is unsafe.
//!
//! - [`abi`]: the kernel's structures and numbers.
//! - [`chain`]: capability chains, checked once as a whole, and laid out as the kernel does.
//! - [`caps`]: the capabilities of each INFO ioctl; what is unknown is kept.
//! - [`info`]: finished replies, interpreted.
//! - [`server`]: the answering side, for where there is no kernel to ask.
//! - [`vfio_user`]: messages by which another process is asked, or asks.
#![forbid(unsafe_code)]

#[macro_use]
pub mod abi;
pub mod caps;
pub mod chain;
mod errno;
pub mod info;
mod request;
pub mod server;
pub mod vfio_user;

pub use errno::Errno;
pub use request::{InfoRequest, put_argsz};
