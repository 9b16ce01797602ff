//! A stretch of a region in reach of register accesses: mapped where the server lets it be, and by
//! message elsewhere.
#![expect(unsafe_code, reason = "the trait is unsafe to implement")]

use core::fmt;
use std::sync::Arc;
use std::vec::Vec;

use vfio_core::mmio::{Access, Origin as _, Protection, Width};
use vfio_core::sys::Errno;

use super::connection::Connection;
use crate::linux;

/// A stretch of a region of a device in another process.
///
/// Each access is made through a mapping where the server offers one, and by a message elsewhere.
pub struct Mapping {
    pub(super) connection: Arc<Connection>,
    pub(super) region: u32,
    /// Bytes from the start of the region.
    pub(super) start: u64,
    pub(super) len: usize,
    pub(super) protection: Protection,
    /// In ascending order.
    pub(super) pieces: Vec<Piece>,
}

/// What is mapped of the stretch.
pub(super) struct Piece {
    /// Bytes from the start of the stretch: a whole number of pages.
    pub(super) start: usize,
    pub(super) mapping: linux::Mapping,
}

/// An access that could not be made: the server refused it, or does not answer any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappingError {
    /// Bytes from the start of the stretch.
    pub offset: usize,
    /// Why.
    pub errno: Errno,
}

impl Mapping {
    /// Finds what is mapped of all `width` bytes at `offset`, and where they lie in it.
    #[inline]
    fn piece(&self, offset: usize, width: usize) -> Option<(&linux::Mapping, usize)> {
        self.pieces.iter().find_map(|piece| {
            let at = offset.checked_sub(piece.start)?;
            let end = at.checked_add(width)?;
            (end <= piece.mapping.len()).then_some((&piece.mapping, at))
        })
    }

    fn position(&self, offset: usize) -> u64 {
        let offset = u64::try_from(offset).unwrap_or(u64::MAX);
        self.start.saturating_add(offset)
    }
}

// SAFETY: a mapping is accessed within its length and for what it is mapped, at a multiple of the width, as it
// starts at a page of the stretch; the others are messages, each of the access's width.
unsafe impl Access for Mapping {
    type Error = MappingError;
    type Origin = usize;

    fn len(&self) -> usize {
        self.len
    }

    fn protection(&self) -> Protection {
        self.protection
    }

    fn origin(&self, offset: usize) -> usize {
        offset
    }

    #[inline]
    unsafe fn load<T: Width>(&self, origin: usize, offset: usize) -> Result<T, MappingError> {
        let offset = origin.behind(offset);
        if let Some((mapping, at)) = self.piece(offset, size_of::<T>()) {
            // SAFETY: the register lies in the mapping, which permits what the stretch does.
            return match unsafe { mapping.load(mapping.origin(0), at) } {
                Ok(value) => Ok(value),
                Err(never) => match never {},
            };
        }
        let mut raw = T::new_zeroed();
        let read =
            self.connection
                .region_read(self.region, self.position(offset), raw.as_mut_bytes());
        read.map_err(|errno| MappingError { offset, errno })?;
        Ok(T::from_device(raw))
    }

    #[inline]
    unsafe fn store<T: Width>(
        &self,
        origin: usize,
        offset: usize,
        value: T,
    ) -> Result<(), MappingError> {
        let offset = origin.behind(offset);
        if let Some((mapping, at)) = self.piece(offset, size_of::<T>()) {
            // SAFETY: as above.
            return match unsafe { mapping.store(mapping.origin(0), at, value) } {
                Ok(()) => Ok(()),
                Err(never) => match never {},
            };
        }
        let raw = value.to_device();
        let written =
            self.connection
                .region_write(self.region, self.position(offset), raw.as_bytes());
        written.map_err(|errno| MappingError { offset, errno })
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mapped = self.pieces.iter().map(|piece| piece.mapping.len());
        f.debug_struct("Mapping")
            .field("region", &self.region)
            .field("start", &self.start)
            .field("len", &self.len)
            .field("mapped", &mapped.sum::<usize>())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, errno } = self;
        write!(f, "the access at {offset:#x}: {errno}")
    }
}

impl core::error::Error for MappingError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.errno)
    }
}
