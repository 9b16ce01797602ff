//! A region in an inventory: what the reply for it says, without the reply.

use crate::wire::abi::{RegionCapId, RegionFlags, RegionSparseMmapArea};
use crate::wire::caps::{RegionCap, RegionKind, SparseMmap};
use crate::wire::info::RegionInfo;

/// A region of an [`Inventory`](super::Inventory).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InventoryRegion {
    /// What may be done with it.
    pub flags: RegionFlags,
    /// Bytes.
    pub size: u64,
    /// Where it lies in the device's file, in bytes.
    pub offset: u64,
    caps: Said,
}

/// What capabilities say of a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct Said {
    is_msix_mappable: bool,
    kind: Option<RegionKind>,
    areas: Option<Areas>,
}

/// Which areas of an [`AreaList`] belong to a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Areas {
    first: usize,
    /// The one past the last.
    end: usize,
}

/// The areas of all regions, of which `len` are in use.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct AreaList<const A: usize> {
    len: usize,
    list: [RegionSparseMmapArea; A],
}

/// The list has no room for the areas of a region.
#[derive(Clone, Copy)]
pub(super) struct Full;

impl Said {
    /// Keeps what a capability says, its areas in `list`.
    #[inline]
    pub(super) fn keep<const A: usize>(
        &mut self,
        cap: &RegionCap<'_>,
        list: &mut AreaList<A>,
    ) -> Result<(), Full> {
        match cap {
            // Areas that can't be read may stand beside them.
            RegionCap::SparseMmap(_) if self.areas.is_some() => (),
            RegionCap::SparseMmap(sparse) => self.areas = Some(list.keep(sparse)?),
            RegionCap::Type(kind) => self.kind = Some(*kind),
            RegionCap::MsixMappable => self.is_msix_mappable = true,
            // What areas of another version leave out must not be mapped.
            RegionCap::Unknown(cap) if cap.id == RegionCapId::SPARSE_MMAP.0 => {
                self.areas = Some(Areas::default());
            }
            RegionCap::Nvlink2Ssatgt { .. }
            | RegionCap::Nvlink2Lnkspd { .. }
            | RegionCap::Unknown(_) => (),
        }
        Ok(())
    }
}

impl InventoryRegion {
    /// What a reply says, and its capabilities.
    #[inline]
    pub(super) const fn new(info: &RegionInfo<'_>, caps: Said) -> Self {
        Self {
            flags: info.flags,
            size: info.size,
            offset: info.offset,
            caps,
        }
    }

    /// What it is, where it says so: needed from index 9 on.
    #[must_use]
    pub const fn kind(&self) -> Option<RegionKind> {
        self.caps.kind
    }

    /// Whether the MSI-X table in it may be mapped with the rest.
    #[must_use]
    pub const fn is_msix_mappable(&self) -> bool {
        self.caps.is_msix_mappable
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
    pub(super) fn of(&self, region: &InventoryRegion) -> Option<&[RegionSparseMmapArea]> {
        let Areas { first, end } = region.caps.areas?;
        Some(self.list.get(first..end).unwrap_or_default())
    }

    /// Keeps the areas of a region, and says where.
    fn keep(&mut self, sparse: &SparseMmap<'_>) -> Result<Areas, Full> {
        let first = self.len;
        let end = first.checked_add(sparse.areas.len()).ok_or(Full)?;
        let room = self.list.get_mut(first..end).ok_or(Full)?;
        room.iter_mut()
            .zip(sparse.areas.iter())
            .for_each(|(slot, area)| *slot = area);
        self.len = end;
        Ok(Areas { first, end })
    }
}
