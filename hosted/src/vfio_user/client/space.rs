//! The memory that the server's device reaches, as this side knows it.

use std::collections::BTreeMap;
use std::ops::Range;

use vfio_core::mmio::Window;
use vfio_core::sys::Errno;
use vfio_core::wire::vfio_user::DmaAccess;

use super::memory::Shared;

/// What is mapped, by its address.
#[derive(Default)]
pub(super) struct Space {
    mappings: BTreeMap<u64, Mapped>,
}

/// Memory at an address of the device's.
pub(super) struct Mapped {
    pub(super) memory: Shared,
    pub(super) range: Range<usize>,
}

impl Space {
    /// Checks that a mapping may be made.
    pub(super) fn check(&self, iova: u64, size: u64, most: u64) -> Result<(), Errno> {
        let last = size.checked_sub(1).ok_or(Errno::EINVAL)?;
        let last = iova.checked_add(last).ok_or(Errno::EOVERFLOW)?;
        let below = self.mappings.range(..=last).next_back();
        if below.is_some_and(|(start, below)| start.saturating_add(below.size()) > iova) {
            return Err(Errno::EEXIST);
        }
        if u64::try_from(self.mappings.len()).is_ok_and(|len| len >= most) {
            return Err(Errno::ENOSPC);
        }
        Ok(())
    }

    pub(super) fn insert(&mut self, iova: u64, mapped: Mapped) {
        self.mappings.insert(iova, mapped);
    }

    pub(super) fn remove(&mut self, iova: u64) {
        self.mappings.remove(&iova);
    }

    pub(super) fn len(&self) -> usize {
        self.mappings.len()
    }

    /// Tells whether the server has to ask for some memory.
    pub(super) fn is_asked_for(&self) -> bool {
        let mut mappings = self.mappings.values();
        mappings.any(|mapped| mapped.memory.file.is_none())
    }

    /// Returns the first mapping from `iova` on that ends at or before `end`, with its size.
    ///
    /// # Errors
    /// `EINVAL` where one lies across a bound, as with type 1 version 2.
    pub(super) fn next_within(&self, iova: u64, end: u64) -> Result<Option<(u64, u64)>, Errno> {
        let ends = |start: &u64, mapped: &Mapped| start.saturating_add(mapped.size());
        let below = self.mappings.range(..iova).next_back();
        if below.is_some_and(|(start, mapped)| ends(start, mapped) > iova) {
            return Err(Errno::EINVAL);
        }
        let last = self.mappings.range(iova..end).next_back();
        if last.is_some_and(|(start, mapped)| ends(start, mapped) > end) {
            return Err(Errno::EINVAL);
        }
        let first = self.mappings.range(iova..end).next();
        Ok(first.map(|(start, mapped)| (*start, mapped.size())))
    }

    /// Returns any mapping, with its size.
    pub(super) fn first(&self) -> Option<(u64, u64)> {
        let (start, mapped) = self.mappings.first_key_value()?;
        Some((*start, mapped.size()))
    }

    /// Reads what the device asks for, all of it or nothing.
    pub(super) fn read(&self, access: &DmaAccess, data: &mut [u8]) -> Result<(), Errno> {
        self.each(access, |mapped, at, done, len| {
            let data = data.get_mut(done..done.saturating_add(len))?;
            Window::new(&mapped.memory.memory).read_bytes(at, data).ok()
        })
    }

    /// Writes what the device sends.
    pub(super) fn write(&self, access: &DmaAccess, data: &[u8]) -> Result<(), Errno> {
        // All is there before anything is written.
        self.each(access, |_, _, _, _| Some(()))?;
        self.each(access, |mapped, at, done, len| {
            let data = data.get(done..done.saturating_add(len))?;
            Window::new(&mapped.memory.memory)
                .write_bytes(at, data)
                .ok()
        })
    }

    /// Visits the mappings that an access lies in, with where in their memory, how many bytes were
    /// before, and how many are in this one.
    fn each(
        &self,
        access: &DmaAccess,
        mut visit: impl FnMut(&Mapped, usize, usize, usize) -> Option<()>,
    ) -> Result<(), Errno> {
        let len = usize::try_from(access.count).map_err(|_| Errno::E2BIG)?;
        let (mut at, mut done) = (access.address, 0_usize);
        while done < len {
            let found = self.mappings.range(..=at).next_back();
            let (start, mapped) = found.ok_or(Errno::ENODEV)?;
            let inside = usize::try_from(at.saturating_sub(*start)).map_err(|_| Errno::ENODEV)?;
            let room = mapped
                .range
                .len()
                .checked_sub(inside)
                .filter(|room| *room > 0);
            let piece = room.ok_or(Errno::ENODEV)?.min(len.saturating_sub(done));
            let place = mapped.range.start.saturating_add(inside);
            visit(mapped, place, done, piece).ok_or(Errno::EFAULT)?;
            done = done.saturating_add(piece);
            let piece = u64::try_from(piece).map_err(|_| Errno::ENODEV)?;
            at = match at.checked_add(piece) {
                Some(next) => next,
                None if done == len => at,
                None => return Err(Errno::ENODEV),
            };
        }
        Ok(())
    }
}

impl Mapped {
    fn size(&self) -> u64 {
        u64::try_from(self.range.len()).unwrap_or(u64::MAX)
    }
}
