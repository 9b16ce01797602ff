//! A disk (Virtual I/O Device Specification 1.2, section 5.2).

use std::sync::{Arc, Mutex, MutexGuard};
use std::vec;
use std::vec::Vec;

use super::control::VirtioControl;
use super::device::{Kind, Request};
use super::queue::Broken;
use crate::lock::lock;
use crate::model::Bus;

/// A disk in memory, with a cache that is lost when the power goes.
#[derive(Debug)]
pub struct VirtioBlk {
    pub(super) control: VirtioBlkControl,
    pub(super) without: u64,
    pub(super) entries: u16,
    is_read_only: bool,
    name: [u8; 20],
}

/// What a test holds on to of a disk: what is on it, and its faults. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct VirtioBlkControl {
    virtio: VirtioControl,
    medium: Arc<Mutex<Medium>>,
}

#[derive(Debug, Default)]
struct Medium {
    /// What is safe.
    kept: Vec<u8>,
    /// What is read.
    cached: Vec<u8>,
}

const SEG_MAX: u64 = 1 << 2;
const RO: u64 = 1 << 5;
const BLK_SIZE: u64 = 1 << 6;
const FLUSH: u64 = 1 << 9;

/// Bytes of a sector.
const SECTOR: usize = 512;

const OK: u8 = 0;
const IOERR: u8 = 1;
const UNSUPP: u8 = 2;

impl VirtioBlk {
    /// Creates a disk of `sectors` sectors of 512 bytes, all zero, with a queue of up to 256
    /// entries.
    #[must_use]
    pub fn new(sectors: usize) -> Self {
        let control = VirtioBlkControl::default();
        let bytes = vec![0; sectors * SECTOR];
        *lock(&control.medium) = Medium {
            cached: bytes.clone(),
            kept: bytes,
        };
        Self {
            control,
            without: 0,
            entries: 256,
            is_read_only: false,
            name: *b"simulated\0\0\0\0\0\0\0\0\0\0\0",
        }
    }

    /// Returns the handle that a test keeps.
    #[must_use]
    pub fn control(&self) -> VirtioBlkControl {
        self.control.clone()
    }

    /// Puts bytes at the start of a sector.
    #[must_use]
    pub fn with_sector(self, sector: usize, bytes: &[u8]) -> Self {
        let mut medium = self.medium();
        let Medium { kept, cached } = &mut *medium;
        for place in [kept, cached] {
            let start = sector * SECTOR;
            place[start..start + bytes.len()].copy_from_slice(bytes);
        }
        drop(medium);
        self
    }

    /// Makes it a disk that can only be read.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.is_read_only = true;
        self
    }

    /// Sets the most entries of its virtqueue, a power of two.
    #[must_use]
    pub fn with_entries(mut self, entries: u16) -> Self {
        self.entries = entries;
        self
    }

    /// Leaves out features that it would offer: bits as the specification numbers them.
    #[must_use]
    pub fn without(mut self, features: u64) -> Self {
        self.without |= features;
        self
    }

    fn medium(&self) -> MutexGuard<'_, Medium> {
        lock(&self.control.medium)
    }

    /// Makes a request but for its status, and returns that and how many bytes were written.
    fn execute(
        &self,
        request: &Request<'_>,
        all: &[u8],
        bus: &mut Bus<'_>,
    ) -> Result<(u8, usize), Broken> {
        let chain = request.chain;
        let (head, data) = all.split_at_checked(16).ok_or(Broken)?;
        let kind = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let sector = u64::from_le_bytes(head[8..].try_into().map_err(|_| Broken)?);
        let start = usize::try_from(sector)
            .ok()
            .and_then(|at| at.checked_mul(SECTOR));
        let room = chain.room().checked_sub(1).ok_or(Broken)?;
        let mut medium = self.medium();
        let range = |len: usize| {
            let start = start?;
            Some(start..start.checked_add(len)?)
        };
        match kind {
            0 => match range(room).and_then(|range| medium.cached.get(range)) {
                Some(bytes) if room.is_multiple_of(SECTOR) => Ok((OK, chain.write(0, bytes, bus)?)),
                _ => Ok((IOERR, 0)),
            },
            1 => match range(data.len()).and_then(|range| medium.cached.get_mut(range)) {
                Some(place) if data.len().is_multiple_of(SECTOR) && !self.is_read_only => {
                    place.copy_from_slice(data);
                    Ok((OK, 0))
                }
                _ => Ok((IOERR, 0)),
            },
            4 => {
                let Medium { kept, cached } = &mut *medium;
                kept.clone_from(cached);
                Ok((OK, 0))
            }
            8 if room >= 20 => Ok((OK, chain.write(0, &self.name, bus)?)),
            _ => Ok((UNSUPP, 0)),
        }
    }
}

impl VirtioBlkControl {
    /// Returns the faults and the counts.
    #[must_use]
    pub const fn virtio(&self) -> &VirtioControl {
        &self.virtio
    }

    /// Returns what is on the disk, without what is in its cache.
    #[must_use]
    pub fn medium(&self) -> Vec<u8> {
        lock(&self.medium).kept.clone()
    }

    /// Cuts the power: what is in the cache is lost.
    pub fn cut_power(&self) {
        let mut medium = lock(&self.medium);
        let Medium { kept, cached } = &mut *medium;
        cached.clone_from(kept);
    }
}

impl Kind for VirtioBlk {
    fn features(&self) -> u64 {
        let features = SEG_MAX | BLK_SIZE | FLUSH;
        if self.is_read_only {
            features | RO
        } else {
            features
        }
    }

    fn queues(&self) -> u16 {
        1
    }

    fn config(&self) -> Vec<u8> {
        let sectors = self.medium().kept.len() / SECTOR;
        let mut config = u64::try_from(sectors).unwrap_or(0).to_le_bytes().to_vec();
        config.extend(0_u32.to_le_bytes());
        config.extend(126_u32.to_le_bytes());
        config.extend([0; 4]);
        config.extend(512_u32.to_le_bytes());
        config.resize(60, 0);
        config
    }

    fn waits(&self, _: u16, _: u64) -> bool {
        false
    }

    fn take(&mut self, request: &Request<'_>, bus: &mut Bus<'_>) -> Result<u32, Broken> {
        let all = request.chain.read(bus)?;
        let (status, written) = self.execute(request, &all, bus)?;
        let last = request.chain.room().checked_sub(1).ok_or(Broken)?;
        request.chain.write(last, &[status], bus)?;
        u32::try_from(written + 1).map_err(|_| Broken)
    }

    fn has_changed(&mut self) -> bool {
        false
    }

    fn reset(&mut self) {}
}
