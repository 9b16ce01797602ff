//! A region in an inventory: what the reply for it says, without the reply.

use crate::abi::{RegionCapId, RegionFlags, RegionSparseMmapArea};
use crate::caps::{RegionCap, RegionKind, SparseMmap};
use crate::info::RegionInfo;

/// A region of an [`Inventory`](super::Inventory).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Region {
    /// What may be done with it.
    pub flags: RegionFlags,
    /// Bytes.
    pub size: u64,
    /// Where it lies in the device's file, in bytes.
    pub offset: u64,
    /// What its capabilities say; most regions have none.
    caps: Option<Said>,
}

/// What capabilities say of a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Said {
    msix_mappable: bool,
    kind: Option<RegionKind>,
    areas: Option<Areas>,
}

/// Which areas of an [`AreaList`] belong to a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Areas {
    first: u32,
    /// The one past the last.
    end: u32,
}

/// The areas of all regions, of which `len` are in use.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct AreaList<const A: usize> {
    len: u32,
    list: [RegionSparseMmapArea; A],
}

impl Region {
    /// What it is, where it says so: needed from index 9 on.
    #[must_use]
    pub fn kind(&self) -> Option<RegionKind> {
        self.caps?.kind
    }

    /// Whether the MSI-X table in it may be mapped with the rest.
    #[must_use]
    pub fn is_msix_mappable(&self) -> bool {
        self.caps.is_some_and(|caps| caps.msix_mappable)
    }

    /// Keeps the region `index` of a reply; `None` where something is wrong with it.
    #[inline(always)]
    pub(super) fn keep<const A: usize>(
        reply: &[u8],
        index: u32,
        slot: &mut Option<Self>,
        areas: &mut AreaList<A>,
    ) -> Option<()> {
        let (head, whole) = RegionInfo::whole(reply, index)?;
        let region = slot.insert(Self {
            flags: head.flags,
            size: head.size,
            offset: head.offset,
            caps: None,
        });
        if head.flags.contains(RegionFlags::CAPS) {
            region.keep_caps(whole, RegionInfo::cap_offset(whole)?, areas)
        } else {
            Some(())
        }
    }

    /// Keeps what the capabilities in a whole reply say; `None` where something is wrong with
    /// them.
    ///
    /// Out of line, so that the many regions without capabilities don't pay for the registers.
    #[inline(never)]
    fn keep_caps<const A: usize>(
        &mut self,
        whole: &[u8],
        cap_offset: u32,
        areas: &mut AreaList<A>,
    ) -> Option<()> {
        let cap = RegionInfo::only_cap(whole, cap_offset);
        let said = self.caps.insert(Said::default());
        match cap {
            Some(cap) => said.keep(cap, self.size, areas),
            None => said.keep_all(whole, cap_offset, self.size, areas),
        }
    }
}

impl Said {
    /// Keeps what several capabilities say, for most chains have one.
    #[inline(never)]
    fn keep_all<const A: usize>(
        &mut self,
        whole: &[u8],
        cap_offset: u32,
        size: u64,
        areas: &mut AreaList<A>,
    ) -> Option<()> {
        let mut check = RegionInfo::check(whole, cap_offset).ok()?;
        while let Some((_, cap)) = check.next().ok()? {
            self.keep(cap, size, areas)?;
        }
        Some(())
    }

    /// Keeps what a capability says, where it fits a region of `size` bytes and there is room for
    /// it.
    #[inline(always)]
    fn keep<const A: usize>(
        &mut self,
        cap: RegionCap<'_>,
        size: u64,
        areas: &mut AreaList<A>,
    ) -> Option<()> {
        match cap {
            RegionCap::SparseMmap(sparse) if self.areas.is_none() => {
                return areas.keep(sparse, size, &mut self.areas);
            }
            // Areas that can't be read stand beside them.
            RegionCap::SparseMmap(sparse) => return fits(sparse, size),
            RegionCap::Type(kind) => self.kind = Some(kind),
            RegionCap::MsixMappable => self.msix_mappable = true,
            // Sparse areas that can't be read: nothing may be mapped.
            RegionCap::Unknown(cap) if cap.id == RegionCapId::SPARSE_MMAP.0 => {
                self.areas = Some(Areas { first: 0, end: 0 });
            }
            RegionCap::Nvlink2Ssatgt { .. }
            | RegionCap::Nvlink2Lnkspd { .. }
            | RegionCap::Unknown(_) => (),
        }
        Some(())
    }
}

impl<const A: usize> AreaList<A> {
    pub(super) const fn new() -> Self {
        Self {
            len: 0,
            list: [RegionSparseMmapArea { offset: 0, size: 0 }; A],
        }
    }

    pub(super) const fn clear(&mut self) {
        self.len = 0;
    }

    /// The areas of a region, if it has a list of them.
    pub(super) fn of(&self, region: &Region) -> Option<&[RegionSparseMmapArea]> {
        let Areas { first, end } = region.caps?.areas?;
        let range = usize::try_from(first).ok()..usize::try_from(end).ok();
        let areas = match (range.start, range.end) {
            (Some(first), Some(end)) => self.list.get(first..end),
            _ => None,
        };
        Some(areas.unwrap_or_default())
    }

    /// Checks the areas of a region of `size` bytes, keeps them, and says where; `None` where
    /// they don't fit the region, or there is no room for them.
    #[inline(never)]
    fn keep(&mut self, sparse: SparseMmap<'_>, size: u64, kept: &mut Option<Areas>) -> Option<()> {
        let first = self.len;
        let free = self.list.get_mut(usize::try_from(first).ok()?..)?;
        let room = free.get_mut(..sparse.areas.len())?;
        if !sparse.copy_in_order(room, size) {
            fits(sparse, size)?;
        }
        let end = first.checked_add(u32::try_from(sparse.areas.len()).ok()?)?;
        self.len = end;
        *kept = Some(Areas { first, end });
        Some(())
    }
}

/// Checks areas that are not in order, or not kept: there are hardly any.
#[cold]
#[inline(never)]
fn fits(sparse: SparseMmap<'_>, size: u64) -> Option<()> {
    sparse.check(size).ok()
}
