//! The capability chain of an INFO reply: a linked list of offsets inside one buffer.
//!
//! Each capability starts with a header `{u16 id, u16 version, u32 next}`; `next` counts from
//! the start of the reply and 0 ends the chain (`struct vfio_info_cap_header`, linux/vfio.h).
//! The [`Chain`] reader checks a chain once as a whole; the [`Writer`] lays one out as the kernel
//! does. Neither assumes an alignment: kernels before 6.6 align capabilities to 4 bytes only.

#![forbid(unsafe_code)]

mod error;
mod reader;
mod writer;

pub use error::ChainError;
pub(crate) use reader::kind;
pub use reader::{Capability, Chain, Iter};
pub use writer::{Align, Full, Writer};

/// Bytes of a capability's header.
pub const HEADER_LEN: u32 = 8;
