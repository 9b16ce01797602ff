//! What submission and completion queues have in common: entries in a circle, made of dwords.

use vfio_core::dma::DmaError;
use vfio_core::mmio::Width as _;
use vfio_core::sys::Errno;

/// The memory is shorter than it was asked for.
pub(super) const TOO_SHORT: DmaError = DmaError::Memory(Errno::ENOMEM);

/// Joins two dwords.
#[inline(always)]
pub(super) fn qword(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// Joins two words.
#[inline(always)]
pub(super) fn dword(low: u16, high: u16) -> u32 {
    u32::from(low) | u32::from(high) << 16
}

/// Returns the index of an entry of `len`, at most 65536, as a doorbell takes it: past the last it
/// is the first.
#[inline(always)]
pub(super) fn index(index: usize, len: usize) -> u16 {
    if index >= len {
        0
    } else {
        u16::truncate(u64::try_from(index).unwrap_or(0))
    }
}
