//! What a program holds of a kernel: files, events, mappings.
//!
//! Each holds what it needs of the kernel and no more, and gives that back on drop.

mod access;
mod event;
mod fd;
mod mapping;

pub use event::Event;
pub use fd::Fd;
pub use mapping::Mapping;
