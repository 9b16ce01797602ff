//! What the programs without libc and std share: their entry, the functions that a compiler calls on its own, and a
//! panic handler that can't be linked.
#![no_std]

#[cfg(feature = "freestanding")]
mod entry;
#[cfg(feature = "freestanding")]
mod memory;
#[cfg(feature = "freestanding")]
pub mod opaque;
#[cfg(feature = "freestanding")]
mod panic;
