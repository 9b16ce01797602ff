//! What the programs without libc and std share: their entry, the functions that a compiler calls on its own, and a
//! panic handler that can't be linked.
//!
//! The checks of the guest's init are named here, too, for the host that waits for them.
#![no_std]

pub mod checks;
#[cfg(feature = "freestanding")]
mod entry;
#[cfg(feature = "freestanding")]
pub mod opaque;
#[cfg(feature = "freestanding")]
mod panic;
// The unikernel's: what an image links is what is proved.
#[cfg(all(feature = "freestanding", panic = "abort"))]
#[path = "../../../unikernel/src/runtime.rs"]
mod runtime;
#[cfg(all(feature = "freestanding", panic = "abort"))]
mod strlen;
