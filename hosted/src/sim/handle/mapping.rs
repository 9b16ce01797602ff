//! Regions that are mapped.

use std::fmt;
use std::sync::{Arc, Mutex};

use vfio_core::sys::Protection;

use crate::lock::lock;
use crate::sim::device::{Device, MappingError, Stretch};
use crate::sim::files::Share;
use crate::sim::ledger::Ledger;

/// A stretch of a region in reach of register accesses. The file of the device stays open for as
/// long as there is one.
///
/// As behind a real mapping, an access goes to the registers at once. What would end the process
/// there is an error here.
pub struct Mapping {
    ledger: Arc<Ledger>,
    /// In the device's file; given back on drop.
    _share: Share,
    device: Arc<Mutex<Device>>,
    place: Stretch,
    protection: Protection,
}

impl Mapping {
    /// Maps a stretch of a device; `share` is one in its file.
    pub(in crate::sim) fn new(
        ledger: &Arc<Ledger>,
        share: Share,
        device: Arc<Mutex<Device>>,
        place: Stretch,
        protection: Protection,
    ) -> Self {
        ledger.add_mapping();
        Self {
            ledger: Arc::clone(ledger),
            _share: share,
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
    pub(in crate::sim) fn read(&self, offset: usize, data: &mut [u8]) -> Result<(), MappingError> {
        if !self.protection.read {
            return Err(MappingError::NotReadable);
        }
        let at = self.position(offset, data.len())?;
        lock(&self.device).load(self.place.region, at, data)
    }

    /// Writes `data` at `offset`.
    pub(in crate::sim) fn write(&self, offset: usize, data: &[u8]) -> Result<(), MappingError> {
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
        self.ledger.count(|calls| &mut calls.unmap);
        self.ledger.remove_mapping();
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
