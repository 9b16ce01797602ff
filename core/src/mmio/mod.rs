//! Register access: the same driver source over a mapped BAR, a trapped one, and a simulated one.
//!
//! A driver is generic over [`Access`], which says how a stretch of device memory is reached:
//! [`Mapped`] is one instruction, [`TrappedRegion`](crate::device::region::TrappedRegion) a system call, and a
//! simulated kernel brings its own. Memory that the program and a device share is reached in the
//! same way, as [`SharedMemory`]. Above it stand a [`Window`], a checked stretch that is read
//! and written at offsets known at run time, and a [`Block`], registers inside a window that
//! [`registers!`](crate::registers) declares: that all of them lie in the window, at their
//! alignment, is checked when it is made, and not again. An [`Array`] is several of them in a row,
//! such as the entries of a ring.
//!
//! What a window permits is part of its type, and never more than its memory was mapped for.
//!
//! Registers are little-endian, as PCI is, on any host; values are the host's.
//!
//! # Side effects
//!
//! A register whose read changes the device can't be read through a shared reference: the type
//! of the field says which it is (see [`field`]). Writes need `&mut` for the same reason.
//!
//! # Memory that is not to be had
//!
//! vfio-pci takes a mapping's pages away while the device's memory is not decoded
//! ([`Command::MEMORY`](crate::pci::Command::MEMORY) is clear), while it may sleep
//! ([`Device::enter_low_power`](crate::device::Device::enter_low_power)), and for as long as a
//! reset lasts. A mapped access then waits for the end of a reset, and in the other cases ends
//! the process with `SIGBUS`: there is no error that it could return. A trapped access gives
//! `EIO` ([`TrapError::Errno`]) where nothing is decoded, and wakes a device that sleeps. So a
//! driver leaves decoding on for as long as it has windows; it is on when
//! [`Device::bring_up`](crate::device::Device::bring_up) has returned. Where somebody else may
//! turn it off, trapped access is the right one.
//!
//! # Order
//!
//! Accesses to one device are made in program order by the compiler, and uncached device
//! memory keeps that order on the bus. Accesses to [`SharedMemory`] have no order of their own,
//! neither among each other nor with those to the device. What needs more:
//!
//! - Memory and a doorbell: [`before_doorbell`] between the last access to memory
//!   and the write that makes the device look at it, [`after_status`] between the read
//!   that tells that the device has written memory and the first access to that memory,
//!   [`full_barrier`] between a write to memory and a read of what the device may write in turn.
//! - Memory that another thread fills or reads: what threads otherwise agree by, a lock or a
//!   channel.
//! - A posted write is on its way, not there: read a register of the same device to wait for it.
//! - A prefetchable BAR may be mapped write-combining by a kernel driver; vfio-pci maps all BARs
//!   uncached. Where a window is write-combining all the same, [`flush_combined`] sends
//!   what was gathered.

#[expect(unsafe_code, reason = "the trait is unsafe to implement")]
mod absent;
#[expect(unsafe_code, reason = "device memory is reached through raw pointers")]
mod access;
mod array;
#[expect(unsafe_code, reason = "barriers are instructions")]
mod barrier;
#[expect(unsafe_code, reason = "offsets of a block are checked when it is made")]
mod block;
#[expect(
    unsafe_code,
    reason = "the trait's methods are unsafe to call, and blocks are copied by the processor"
)]
mod bytes;
mod error;
pub mod field;
#[expect(unsafe_code, reason = "the trait's methods are unsafe to call")]
mod forward;
#[expect(unsafe_code, reason = "device memory is reached through raw pointers")]
mod mapped;
#[expect(unsafe_code, reason = "an origin may be sent wherever its access may")]
mod origin;
#[expect(unsafe_code, reason = "the trait's methods are unsafe to call")]
mod part;
mod permission;
#[expect(unsafe_code, reason = "memory is reached through raw pointers")]
mod raw;
mod registers;
#[expect(unsafe_code, reason = "memory is reached through raw pointers")]
mod shared;
#[expect(unsafe_code, reason = "the trait is unsafe to implement")]
mod through;
mod width;
#[expect(unsafe_code, reason = "offsets are checked before each access")]
mod window;

pub use absent::Absent;
pub use access::{Access, Addressable, Unrestricted};
pub use array::Array;
pub use barrier::{after_status, before_doorbell, flush_combined, full_barrier};
pub use block::Block;
pub use error::{OffsetError, RegisterError, TrapError};
pub use forward::Forward;
pub use mapped::Mapped;
pub use origin::{Address, Origin};
pub use part::Part;
pub use permission::{
    CanRead, CanReadWrite, CanWrite, NotPermitted, Permission, Protection, Readable, Writable,
};
#[doc(hidden)]
pub use registers::Declared;
pub use registers::{Field, FieldError, Registers};
pub use shared::SharedMemory;
pub use through::Through;
pub use width::Width;
pub use window::Window;

#[cfg(test)]
#[expect(unsafe_code, reason = "memory stands in for a BAR")]
mod tests;
