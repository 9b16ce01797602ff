//! Regions that are mapped.

use std::fmt;
use std::sync::{Arc, Mutex};

use vfio_core::sys::Protection;

use super::device::Device;
use super::kernel::{Shared, lock};

/// A stretch of a region in reach of register accesses. The file of the device stays open for as
/// long as there is one.
///
/// As behind a real mapping, an access goes to the registers at once. What would end the process
/// there is an error here.
pub struct Mapping {
    kernel: Arc<Shared>,
    /// The id of the device's file.
    file: u64,
    device: Arc<Mutex<Device>>,
    place: Stretch,
    protection: Protection,
}

/// Where a mapping is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) region: u32,
    /// Bytes from the start of the region.
    pub(super) start: u64,
    /// Bytes in reach.
    pub(super) len: usize,
}

/// An access that would end a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingError {
    /// The memory of the BAR is not decoded, or the device may sleep: `SIGBUS`.
    NotDecoded,
    /// It was not mapped for reading: `SIGSEGV`, as for all below.
    NotReadable,
    /// It was not mapped for writing.
    NotWritable,
    /// It is not in the mapping.
    OutOfBounds,
}

impl Mapping {
    /// Takes a share in the open `file` over, which is given back on drop.
    pub(super) fn new(
        kernel: Arc<Shared>,
        file: u64,
        device: Arc<Mutex<Device>>,
        place: Stretch,
        protection: Protection,
    ) -> Self {
        Self {
            kernel,
            file,
            device,
            place,
            protection,
        }
    }

    pub(super) const fn stretch(&self) -> Stretch {
        self.place
    }

    pub(super) const fn protection(&self) -> Protection {
        self.protection
    }

    /// Reads the `data.len()` bytes at `offset`.
    pub(super) fn read(&self, offset: usize, data: &mut [u8]) -> Result<(), MappingError> {
        if !self.protection.read {
            return Err(MappingError::NotReadable);
        }
        let at = self.position(offset, data.len())?;
        lock(&self.device).load(self.place.region, at, data)
    }

    /// Writes `data` at `offset`.
    pub(super) fn write(&self, offset: usize, data: &[u8]) -> Result<(), MappingError> {
        if !self.protection.write {
            return Err(MappingError::NotWritable);
        }
        let at = self.position(offset, data.len())?;
        lock(&self.device).store(self.place.region, at, data)
    }

    fn position(&self, offset: usize, len: usize) -> Result<u64, MappingError> {
        let end = offset.checked_add(len);
        let offset = u64::try_from(offset).ok();
        offset
            .filter(|_| end.is_some_and(|end| end <= self.place.len))
            .and_then(|offset| self.place.start.checked_add(offset))
            .ok_or(MappingError::OutOfBounds)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.kernel.unmap(self.file);
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("place", &self.place)
            .field("protection", &self.protection)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotDecoded => "the memory of the BAR is not decoded",
            Self::NotReadable => "the mapping is not for reading",
            Self::NotWritable => "the mapping is not for writing",
            Self::OutOfBounds => "the access is not in the mapping",
        })
    }
}

impl core::error::Error for MappingError {}
