//! The regions of a device, as its server tells of them, and the shim to its users.

use std::os::fd::OwnedFd;
use std::vec;
use std::vec::Vec;

use vfio_core::mmio::Protection;
use vfio_core::sys::{Errno, InfoRequest, Span};
use vfio_core::wire::abi::{RegionFlags, pci_region};
use vfio_core::wire::caps::RegionCap;
use vfio_core::wire::info::{InfoError, Mappable, RegionInfo};
use vfio_core::wire::server::{DeviceReply, RegionReply};
use vfio_core::wire::vfio_user::Command;

use super::connection::Link;
use super::mapping::Piece;
use crate::linux;
use crate::vfio_user::memory_file::is_sealed;

/// What is known of the regions, by their indexes.
#[derive(Default)]
pub(super) struct Regions(Vec<Option<Region>>);

/// A region.
pub(super) struct Region {
    /// The server's answer, of the length that it says.
    reply: Vec<u8>,
    pub(super) flags: RegionFlags,
    pub(super) size: u64,
    /// What can be mapped.
    file: Option<File>,
}

/// A file in which parts of a region lie.
struct File {
    file: OwnedFd,
    /// Where the region begins in it.
    offset: u64,
    /// The parts, from the start of the region on: offset and size.
    areas: Vec<(u64, u64)>,
}

/// How many regions are remembered: PCI has nine, and devices a few of their own.
const MOST: u32 = 64;

/// The longest answer about a region, in bytes: with some 250 areas. To check that areas in no order don't overlap takes
/// time that grows with the square of their number.
const LONGEST: u32 = 4096;

/// How far apart regions lie in the file that a device seems to be, as with vfio-pci: `2^40` bytes.
const SHIFT: u32 = 40;

/// Finds where a place in the file that a device seems to be lies: its region, and bytes from the region's start.
pub(super) fn place(offset: u64) -> Result<(u32, u64), Errno> {
    let region = u32::try_from(offset >> SHIFT).map_err(|_| Errno::EINVAL)?;
    Ok((region, offset & ((1 << SHIFT) - 1)))
}

impl Link {
    /// Returns a region, which the server is asked for once.
    pub(super) fn region(&mut self, index: u32) -> Result<&Region, Errno> {
        let place = usize::try_from(index).map_err(|_| Errno::EINVAL)?;
        if index >= MOST {
            return Err(Errno::EINVAL);
        }
        let is_known = matches!(self.regions.0.get(place), Some(Some(_)));
        if !is_known {
            let region = self.ask_region(index)?;
            if self.regions.0.len() <= place {
                let len = place.saturating_add(1);
                self.regions.0.resize_with(len, || None);
            }
            if let Some(slot) = self.regions.0.get_mut(place) {
                *slot = Some(region);
            }
        }
        let region = self.regions.0.get(place).and_then(Option::as_ref);
        region.ok_or(Errno::EINVAL)
    }

    fn ask_region(&mut self, index: u32) -> Result<Region, Errno> {
        let command = Command::GetRegionInfo {
            argsz: LONGEST,
            index,
        };
        let reply = self.ask(&command, &[], 0, |body| Ok(body.to_vec()))?;
        let fds = self.take_fds();
        let reply = bounded(reply)?;
        let info = RegionInfo::decode(&reply).map_err(|error| match error {
            InfoError::TooSmall { .. } => Errno::EMSGSIZE,
            InfoError::Malformed(_) => Errno::EPROTO,
        })?;
        if info.index != index {
            return Err(Errno::EPROTO);
        }
        let areas = match info.mappable() {
            Mappable::Nothing => vec![],
            Mappable::Everything => vec![(0, info.size)],
            Mappable::Areas(areas) => areas
                .areas
                .iter()
                .map(|area| (area.offset, area.size))
                .collect(),
        };
        let file = fds.into_iter().next().filter(|_| !areas.is_empty());
        let offset = info.offset;
        let is_trusted = |file: &OwnedFd| self.options.maps_unsealed || is_sealed(file);
        Ok(Region {
            flags: info.flags,
            size: info.size,
            file: file.filter(is_trusted).map(|file| File {
                file,
                offset,
                areas,
            }),
            reply,
        })
    }

    /// Answers what the shim is asked about a region.
    ///
    /// It lies where vfio-pci would have it, since the server's offset is one in a file. A BAR can be mapped whole:
    /// where the server has no mapping, accesses are messages.
    pub(super) fn region_info(&mut self, index: u32, reply: &mut [u8]) -> Result<(), Errno> {
        let region = self.region(index)?;
        // It was checked when it came.
        let info = RegionInfo::decode(&region.reply).map_err(|_| Errno::EPROTO)?;
        let is_bar = index <= pci_region::ROM && info.size > 0;
        let mut flags = info.flags - RegionFlags::CAPS;
        flags.set(RegionFlags::MMAP, is_bar);
        let caps = info
            .caps
            .iter()
            .filter(|cap| !matches!(cap, RegionCap::SparseMmap(_) | RegionCap::MsixMappable));
        let caps: Vec<_> = caps.collect();
        let told = RegionReply {
            flags,
            size: info.size,
            offset: u64::from(index) << SHIFT,
            caps: &caps,
        };
        let place = usize::try_from(index).map_err(|_| Errno::EINVAL)?;
        let mut regions = vec![None; place.saturating_add(1)];
        if let Some(slot) = regions.get_mut(place) {
            *slot = Some(told);
        }
        let device = DeviceReply {
            regions: &regions,
            ..DeviceReply::default()
        };
        device.answer(InfoRequest::Region, reply)
    }

    /// Maps what can be mapped of `len` bytes at `start` of a region.
    pub(super) fn pieces(
        &mut self,
        index: u32,
        start: u64,
        len: u64,
        protection: Protection,
    ) -> Result<Vec<Piece>, Errno> {
        let region = self.region(index)?;
        let mut needed = RegionFlags::empty();
        needed.set(RegionFlags::READ, protection.read);
        needed.set(RegionFlags::WRITE, protection.write);
        let end = start.checked_add(len).filter(|end| *end <= region.size);
        let (true, Some(end)) = (region.flags.contains(needed), end) else {
            return Err(Errno::EINVAL);
        };
        let Some(file) = &region.file else {
            return Ok(vec![]);
        };
        let pieces = file
            .areas
            .iter()
            .map(|area| file.piece(*area, start..end, protection));
        Ok(pieces.flatten().collect())
    }
}

impl File {
    /// Maps what an area has of a stretch; none where that is not whole pages, or not in the file.
    fn piece(
        &self,
        (offset, size): (u64, u64),
        stretch: std::ops::Range<u64>,
        protection: Protection,
    ) -> Option<Piece> {
        let page = u64::try_from(rustix::param::page_size()).ok()?;
        let start = offset.max(stretch.start);
        let end = offset.checked_add(size)?.min(stretch.end);
        let len = end.checked_sub(start).filter(|len| *len > 0)?;
        let position = self.offset.checked_add(start)?;
        let size = u64::try_from(rustix::fs::fstat(&self.file).ok()?.st_size).ok()?;
        let is_there = position.checked_add(len)? <= size;
        let is_aligned = position.is_multiple_of(page) && start.is_multiple_of(page);
        if !is_there || !is_aligned {
            return None;
        }
        let span = Span {
            offset: position,
            len: usize::try_from(len).ok()?,
        };
        Some(Piece {
            start: usize::try_from(start.checked_sub(stretch.start)?).ok()?,
            mapping: linux::Mapping::new(&self.file, span, protection).ok()?,
        })
    }
}

/// Cuts an answer to the length that it says, which it must have.
///
/// # Errors
/// `EMSGSIZE` for one that would be longer than was asked for, `EPROTO` for one that is shorter than it says.
fn bounded(mut reply: Vec<u8>) -> Result<Vec<u8>, Errno> {
    let argsz = reply.first_chunk().copied().map(u32::from_ne_bytes);
    let argsz = argsz.ok_or(Errno::EPROTO)?;
    if argsz > LONGEST {
        return Err(Errno::EMSGSIZE);
    }
    let len = usize::try_from(argsz).map_err(|_| Errno::EPROTO)?;
    if len > reply.len() {
        return Err(Errno::EPROTO);
    }
    // What lies behind is not the answer's.
    reply.truncate(len);
    Ok(reply)
}
