//! Device memory behind system calls.

use core::mem::size_of;

use crate::device::DeviceHandle;
use crate::mmio::{Access, Origin as _, Protection, TrapError, Unrestricted, Width};

/// A stretch of device memory that is read and written by system calls.
///
/// The kernel splits what it is given into accesses of at most 8 bytes, at their natural
/// alignment. An access of up to 32 bits is one of them. One of 64 bits is two of 32, the low half
/// first, on kernels before Linux 6.11 or so and on hosts without such an access: where a register
/// must be read or written whole, a driver maps it, or reads its halves until the upper one stays
/// the same.
pub struct TrappedRegion<D> {
    device: D,
    position: u64,
    len: usize,
}

impl<D: DeviceHandle> TrappedRegion<D> {
    /// Creates an access to the `len` bytes at `position` of the device's file.
    #[must_use]
    pub const fn new(device: D, position: u64, len: usize) -> Self {
        Self {
            device,
            position,
            len,
        }
    }
}

/// Turns the result of a system call into that of a register.
fn whole<T>(offset: usize, done: Result<usize, crate::sys::Errno>) -> Result<(), TrapError> {
    match done {
        Ok(done) if done == size_of::<T>() => Ok(()),
        Ok(done) => Err(TrapError::Short { offset, done }),
        Err(errno) => Err(TrapError::Errno { offset, errno }),
    }
}

// SAFETY: no memory is touched; the kernel makes each access as one of its width, or of 64 bits
// two, the low half first.
unsafe impl<D: DeviceHandle> Access for TrappedRegion<D> {
    type Error = TrapError;
    type Origin = usize;

    fn len(&self) -> usize {
        self.len
    }

    fn protection(&self) -> Protection {
        Protection::BOTH
    }

    fn origin(&self, offset: usize) -> usize {
        offset
    }

    unsafe fn load<T: Width>(&self, origin: usize, offset: usize) -> Result<T, TrapError> {
        let offset = origin.behind(offset);
        let mut raw = T::new_zeroed();
        let at = u64::try_from(offset).unwrap_or(u64::MAX);
        whole::<T>(
            offset,
            self.device.read(self.position, at, raw.as_mut_bytes()),
        )?;
        Ok(T::from_device(raw))
    }

    unsafe fn store<T: Width>(
        &self,
        origin: usize,
        offset: usize,
        value: T,
    ) -> Result<(), TrapError> {
        let offset = origin.behind(offset);
        let raw = value.to_device();
        let at = u64::try_from(offset).unwrap_or(u64::MAX);
        whole::<T>(offset, self.device.write(self.position, at, raw.as_bytes()))
    }
}

// SAFETY: the kernel refuses what the region does not permit, and makes each access for itself.
unsafe impl<D: DeviceHandle> Unrestricted for TrappedRegion<D> {}

impl<D> core::fmt::Debug for TrappedRegion<D> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TrappedRegion")
            .field("position", &self.position)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "defmt")]
impl<D> defmt::Format for TrappedRegion<D> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "TrappedRegion({} bytes)", self.len);
    }
}
