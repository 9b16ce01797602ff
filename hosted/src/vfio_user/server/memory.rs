//! The memory that a client has given to the device.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::vec::Vec;

use rustix::io::{pread, pwrite, retry_on_intr};
use vfio_core::mmio::Window;
use vfio_core::sys::Errno;
use vfio_core::wire::vfio_user::{DmaMap, DmaMapFlags, DmaUnmap, DmaUnmapFlags};

use crate::linux::Memory;
use crate::model::{FaultReason, Refusal};
use crate::vfio_user::memory_file::{Reach, reach};

/// Mappings by their address.
#[derive(Default)]
pub(super) struct ClientMemory {
    mappings: BTreeMap<u64, Mapping>,
    /// How many there may be.
    most: usize,
}

/// Memory at an address of the device's.
struct Mapping {
    size: u64,
    flags: DmaMapFlags,
    behind: Behind,
}

/// What is behind a mapping.
enum Behind {
    Mapped(Memory),
    File {
        file: OwnedFd,
        offset: u64,
    },
    /// The client is asked.
    Client,
}

/// A piece of a transfer, which lies in one mapping.
pub(super) struct Piece {
    /// The address.
    pub(super) address: u64,
    /// The address of the mapping.
    start: u64,
    pub(super) len: usize,
}

impl ClientMemory {
    pub(super) fn with_room(most: usize) -> Self {
        Self {
            mappings: BTreeMap::new(),
            most,
        }
    }

    /// Takes memory, behind a descriptor or not.
    pub(super) fn map(&mut self, map: &DmaMap, fds: Vec<OwnedFd>) -> Result<(), Errno> {
        let last = map.size.checked_sub(1).ok_or(Errno::EINVAL)?;
        let last = map.address.checked_add(last).ok_or(Errno::EINVAL)?;
        let below = self.mappings.range(..=last).next_back();
        if below.is_some_and(|(start, below)| below.last(*start) >= map.address) {
            return Err(Errno::EEXIST);
        }
        if self.mappings.len() >= self.most {
            return Err(Errno::ENOSPC);
        }
        let mut fds = fds.into_iter();
        let behind = match (fds.next(), fds.next()) {
            (None, _) => Behind::Client,
            (Some(file), None) => match reach(file, map.offset, map.size)? {
                Reach::Mapped(memory) => Behind::Mapped(memory),
                Reach::File(file) => Behind::File {
                    file,
                    offset: map.offset,
                },
                Reach::Owner => Behind::Client,
            },
            (Some(_), Some(_)) => return Err(Errno::EINVAL),
        };
        let mapping = Mapping {
            size: map.size,
            flags: map.flags,
            behind,
        };
        self.mappings.insert(map.address, mapping);
        Ok(())
    }

    /// Gives memory back; returns what was unmapped.
    pub(super) fn unmap(&mut self, unmap: &DmaUnmap) -> Result<DmaUnmap, Errno> {
        if unmap.flags.contains(DmaUnmapFlags::GET_DIRTY_BITMAP) {
            return Err(Errno::EOPNOTSUPP);
        }
        let all = DmaUnmapFlags::ALL | DmaUnmapFlags::ALL_OTHERWISE;
        if unmap.flags.intersects(all) {
            if (unmap.address, unmap.size) != (0, 0) {
                return Err(Errno::EINVAL);
            }
            self.mappings.clear();
            return Ok(*unmap);
        }
        match self.mappings.get(&unmap.address) {
            Some(mapping) if mapping.size == unmap.size => {
                self.mappings.remove(&unmap.address);
                Ok(*unmap)
            }
            _ => Err(Errno::ENOENT),
        }
    }

    /// Finds the pieces of `len` bytes at `address`, all of them or none.
    pub(super) fn pieces(
        &self,
        address: u64,
        len: usize,
        needed: DmaMapFlags,
    ) -> Result<Vec<Piece>, Refusal> {
        let mut pieces = Vec::new();
        let (mut at, mut left) = (address, len);
        while left > 0 {
            let refused = |reason| Refusal { iova: at, reason };
            let found = self.mappings.range(..=at).next_back();
            let found = found.filter(|(start, mapping)| mapping.last(**start) >= at);
            let (start, mapping) = found.ok_or_else(|| refused(FaultReason::Unmapped))?;
            if !mapping.flags.contains(needed) {
                return Err(refused(FaultReason::Forbidden));
            }
            let room = mapping.last(*start).saturating_sub(at).saturating_add(1);
            let len = usize::try_from(room).unwrap_or(usize::MAX).min(left);
            pieces.push(Piece {
                address: at,
                start: *start,
                len,
            });
            left = left.saturating_sub(len);
            let next = at.checked_add(u64::try_from(len).unwrap_or(u64::MAX));
            if left > 0 {
                at = next.ok_or_else(|| refused(FaultReason::Unmapped))?;
            }
        }
        Ok(pieces)
    }

    /// Reads a piece; none where the client has to be asked.
    pub(super) fn read(&self, piece: &Piece, data: &mut [u8]) -> Option<Result<(), Refusal>> {
        let (mapping, at) = self.place(piece)?;
        let done = match &mapping.behind {
            Behind::Client => return None,
            Behind::Mapped(memory) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                Window::new(memory).read_bytes(at, data).is_ok()
            }
            Behind::File { file, offset } => whole(data.len(), |done| {
                let rest = data.get_mut(done..).unwrap_or_default();
                let at = position(*offset, at, done)?;
                retry_on_intr(|| pread(file, &mut *rest, at)).ok()
            }),
        };
        Some(piece.done(done))
    }

    /// Writes a piece; none where the client has to be asked.
    pub(super) fn write(&self, piece: &Piece, data: &[u8]) -> Option<Result<(), Refusal>> {
        let (mapping, at) = self.place(piece)?;
        let done = match &mapping.behind {
            Behind::Client => return None,
            Behind::Mapped(memory) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                Window::new(memory).write_bytes(at, data).is_ok()
            }
            Behind::File { file, offset } => whole(data.len(), |done| {
                let rest = data.get(done..).unwrap_or_default();
                let at = position(*offset, at, done)?;
                retry_on_intr(|| pwrite(file, rest, at)).ok()
            }),
        };
        Some(piece.done(done))
    }

    fn place(&self, piece: &Piece) -> Option<(&Mapping, u64)> {
        let mapping = self.mappings.get(&piece.start)?;
        Some((mapping, piece.address.checked_sub(piece.start)?))
    }
}

impl Mapping {
    /// Returns the last address of a mapping that begins at `start`.
    const fn last(&self, start: u64) -> u64 {
        start.saturating_add(self.size.saturating_sub(1))
    }
}

impl Piece {
    /// Returns the refusal of a piece that could not be transferred.
    pub(super) const fn refusal(&self) -> Refusal {
        Refusal {
            iova: self.address,
            reason: FaultReason::Unmapped,
        }
    }

    const fn done(&self, is_done: bool) -> Result<(), Refusal> {
        if is_done { Ok(()) } else { Err(self.refusal()) }
    }
}

/// Transfers `len` bytes in as many calls as it takes; tells whether all were.
fn whole(len: usize, mut transfer: impl FnMut(usize) -> Option<usize>) -> bool {
    let mut done = 0_usize;
    while done < len {
        match transfer(done) {
            // A file that is too short has nothing there.
            None | Some(0) => return false,
            Some(more) => done = done.saturating_add(more),
        }
    }
    true
}

/// Returns a place in a file.
fn position(offset: u64, at: u64, done: usize) -> Option<u64> {
    let done = u64::try_from(done).ok()?;
    offset.checked_add(at)?.checked_add(done)
}
