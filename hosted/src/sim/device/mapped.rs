//! Regions that are mapped.

use std::fmt;

use vfio_core::sys::{Errno, Protection, Span};
use vfio_core::wire::abi::{RegionFlags, RegionSparseMmapArea};

use super::Device;
use crate::model::{RegionCap, RegionDescription};
use crate::sim::pages::PAGE;

/// Where a mapping is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) struct Stretch {
    pub(in crate::sim) region: u32,
    /// Bytes from the start of the region.
    pub(in crate::sim) start: u64,
    /// Bytes in reach.
    pub(in crate::sim) len: usize,
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

impl Device {
    /// Returns where `span` is, if it may be mapped so.
    pub(in crate::sim) fn stretch(
        &self,
        span: Span,
        protection: Protection,
    ) -> Result<Stretch, Errno> {
        let page = u64::try_from(PAGE).map_err(|_| Errno::EINVAL)?;
        let len = u64::try_from(span.len).map_err(|_| Errno::EINVAL)?;
        if len == 0 || !span.offset.is_multiple_of(page) {
            return Err(Errno::EINVAL);
        }
        let (index, region, start) = self.region_at(span.offset).ok_or(Errno::EINVAL)?;
        let mut needed = RegionFlags::MMAP;
        needed.set(RegionFlags::READ, protection.read);
        needed.set(RegionFlags::WRITE, protection.write);
        if !region.flags.contains(needed) {
            return Err(Errno::EINVAL);
        }
        let end = start.checked_add(len).ok_or(Errno::EINVAL)?;
        if !may_be_mapped(region, start, end, page) {
            return Err(Errno::EINVAL);
        }
        Ok(Stretch {
            region: index,
            start,
            len: span.len,
        })
    }

    /// Reads through a mapping.
    pub(in crate::sim) fn load(
        &mut self,
        region: u32,
        at: u64,
        data: &mut [u8],
    ) -> Result<(), MappingError> {
        self.advance();
        self.check_pages(region)?;
        if self.reaches(region, at, data.len()) {
            self.act(|registers, bus| registers.read(region, at, data, bus));
        } else {
            data.fill(0xff);
        }
        Ok(())
    }

    /// Writes through a mapping.
    pub(in crate::sim) fn store(
        &mut self,
        region: u32,
        at: u64,
        data: &[u8],
    ) -> Result<(), MappingError> {
        self.check_pages(region)?;
        if self.reaches(region, at, data.len()) {
            self.act(|registers, bus| registers.write(region, at, data, bus));
        }
        Ok(())
    }

    /// Tells whether the pages of a BAR are in reach: vfio-pci takes them away while its memory is
    /// not to be had.
    fn check_pages(&self, region: u32) -> Result<(), MappingError> {
        let answers = self.config.decodes_memory() && !self.is_asleep();
        if answers || !self.config.is_memory_bar(region) {
            Ok(())
        } else {
            Err(MappingError::NotDecoded)
        }
    }

    /// Tells whether a mapped access arrives: the page in which a BAR ends may have nothing behind
    /// it.
    fn reaches(&self, index: u32, at: u64, len: usize) -> bool {
        let region = usize::try_from(index)
            .ok()
            .and_then(|index| self.description().regions.get(index)?.as_ref());
        let end = u64::try_from(len).ok().and_then(|len| at.checked_add(len));
        region.is_some_and(|region| end.is_some_and(|end| end <= region.size))
    }
}

/// Tells whether the pages from `start` to `end` lie in a mappable area of the region.
fn may_be_mapped(region: &RegionDescription, start: u64, end: u64, page: u64) -> bool {
    let Some(end) = end.checked_next_multiple_of(page) else {
        return false;
    };
    let whole = [RegionSparseMmapArea {
        offset: 0,
        size: region.size,
    }];
    let areas = region.caps.iter().find_map(|cap| match cap {
        RegionCap::SparseMmap(areas) => Some(areas.as_slice()),
        _ => None,
    });
    let holds = |area: &RegionSparseMmapArea| {
        let last = area.offset.checked_add(area.size);
        let last = last.and_then(|end| end.checked_next_multiple_of(page));
        area.size != 0 && area.offset <= start && last.is_some_and(|last| end <= last)
    };
    areas.unwrap_or(&whole).iter().any(holds)
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
