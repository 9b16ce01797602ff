//! Barriers between memory and a device.

#![forbid(unsafe_code)]

use core::sync::atomic::{Ordering, fence};

/// What was written to DMA memory before is seen by the device once it sees a register write
/// made after.
///
/// On x86-64 stores to memory and to uncached device memory stay in order, and this only keeps
/// the compiler from reordering; elsewhere it is a store barrier.
#[inline]
pub fn before_doorbell() {
    if cfg!(target_arch = "x86_64") {
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// What the device wrote to memory before it set a status is seen by reads made after the read
/// of that status.
#[inline]
pub fn after_status() {
    if cfg!(target_arch = "x86_64") {
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// What was written to DMA memory before is seen by the device before memory is read after: for a
/// flag that the device may set while it is being told, such as an event index.
#[inline]
pub fn full_barrier() {
    fence(Ordering::SeqCst);
}

/// Sends writes that a write-combining mapping has gathered.
#[inline]
pub fn flush_combined() {
    fence(Ordering::SeqCst);
}
