//! All that a device has, asked for once and kept without the replies.

use core::fmt;

use super::Device;
use crate::abi::{self, DeviceFlags, IrqFlags, RegionFlags, RegionSparseMmapArea};
use crate::caps::{RegionCap, RegionKind, SparseMmap};
use crate::info::{Malformed, RegionCheck, RegionInfo};
use crate::query::{self, QueryError, ReplyBuffer};
use crate::sys::{Errno, Sys};

/// What a device has: up to `R` regions and `I` interrupts, with `A` sparse areas in all.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Inventory<const R: usize, const I: usize, const A: usize> {
    flags: DeviceFlags,
    num_regions: usize,
    num_irqs: usize,
    num_areas: usize,
    regions: [Option<Region>; R],
    irqs: [Option<Interrupt>; I],
    areas: [RegionSparseMmapArea; A],
}

/// A region of an [`Inventory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Region {
    /// What may be done with it.
    pub flags: RegionFlags,
    /// Bytes.
    pub size: u64,
    /// Where it lies in the device's file, in bytes.
    pub offset: u64,
    /// What it is, where it says so.
    pub kind: Option<RegionKind>,
    /// Whether the MSI-X table in it may be mapped.
    pub msix_mappable: bool,
    /// Its sparse areas: the first and the one past the last in the inventory.
    areas: Option<(usize, usize)>,
}

/// An interrupt index of an [`Inventory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Interrupt {
    /// How it is signalled and masked.
    pub flags: IrqFlags,
    /// How many interrupts it has.
    pub count: u32,
}

/// What kept a device from being asked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum InventoryError {
    /// The device itself.
    Device(QueryError<abi::DeviceInfo>),
    /// A region.
    Region {
        /// Its index.
        index: u32,
        /// What went wrong.
        error: QueryError<abi::RegionInfo>,
    },
    /// An interrupt.
    Irq {
        /// Its index.
        index: u32,
        /// What went wrong.
        error: QueryError<abi::IrqInfo>,
    },
    /// The device has more regions than there is room for.
    TooManyRegions {
        /// How many it has.
        count: u32,
    },
    /// The device has more interrupt indexes than there is room for.
    TooManyIrqs {
        /// How many it has.
        count: u32,
    },
    /// The regions have more sparse areas than there is room for.
    TooManyAreas {
        /// The region with which it became too many.
        index: u32,
    },
}

impl<const R: usize, const I: usize, const A: usize> Inventory<R, I, A> {
    /// Nothing yet.
    #[inline]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            flags: DeviceFlags::empty(),
            num_regions: 0,
            num_irqs: 0,
            num_areas: 0,
            regions: [None; R],
            irqs: [None; I],
            areas: [RegionSparseMmapArea { offset: 0, size: 0 }; A],
        }
    }

    /// Asks `device` about everything that it has, and keeps that in place of what was kept
    /// before; after an error, nothing is kept.
    #[inline(always)]
    pub(super) fn ask<S: Sys, B: ReplyBuffer + ?Sized>(
        &mut self,
        device: &Device<S>,
        buffer: &mut B,
    ) -> Result<(), InventoryError> {
        self.num_regions = 0;
        self.num_irqs = 0;
        self.num_areas = 0;
        let info = device.info(buffer).map_err(InventoryError::Device)?;
        let (num_regions, num_irqs) = (info.num_regions, info.num_irqs);
        self.flags = info.flags;
        let Some(regions) = first(&mut self.regions, num_regions) else {
            return Err(InventoryError::TooManyRegions { count: num_regions });
        };
        let Some(irqs) = first(&mut self.irqs, num_irqs) else {
            return Err(InventoryError::TooManyIrqs { count: num_irqs });
        };

        let mut free = Free {
            areas: &mut self.areas,
            used: 0,
        };
        let counts = (regions.len(), irqs.len());
        for (index, region) in (0..).zip(regions) {
            ask_region(device, index, buffer, region, &mut free)?;
        }
        let num_areas = free.used;
        for (index, irq) in (0..).zip(irqs) {
            *irq = match device.irq(index) {
                Ok(irq) => Some(Interrupt {
                    flags: irq.flags,
                    count: irq.count,
                }),
                // An index may be without an interrupt; the others keep their places.
                Err(QueryError::Errno(Errno::EINVAL)) => None,
                Err(error) => return Err(InventoryError::Irq { index, error }),
            };
        }
        (self.num_regions, self.num_irqs) = counts;
        self.num_areas = num_areas;
        Ok(())
    }

    /// The device's flags.
    #[must_use]
    pub const fn flags(&self) -> DeviceFlags {
        self.flags
    }

    /// The regions by index; `None` where an index has none.
    #[must_use]
    pub fn regions(&self) -> &[Option<Region>] {
        self.regions.get(..self.num_regions).unwrap_or(&[])
    }

    /// The interrupts by index; `None` where an index has none.
    #[must_use]
    pub fn irqs(&self) -> &[Option<Interrupt>] {
        self.irqs.get(..self.num_irqs).unwrap_or(&[])
    }

    /// The areas of a region that may be mapped; `None` where the region has no such list, and
    /// its MMAP flag alone decides.
    #[must_use]
    pub fn areas(&self, region: &Region) -> Option<&[RegionSparseMmapArea]> {
        let (first, end) = region.areas?;
        Some(self.areas.get(first..end).unwrap_or(&[]))
    }
}

impl<const R: usize, const I: usize, const A: usize> Default for Inventory<R, I, A> {
    fn default() -> Self {
        Self::new()
    }
}

/// The areas that are not in use yet.
struct Free<'a> {
    areas: &'a mut [RegionSparseMmapArea],
    /// How many areas of the inventory are in use.
    used: usize,
}

impl Free<'_> {
    /// Keeps areas, and returns the first and the one past the last; `None` without room.
    #[inline(always)]
    fn keep(&mut self, sparse: SparseMmap<'_>) -> Option<(usize, usize)> {
        let first = self.used;
        let end = first.checked_add(sparse.areas.len())?;
        self.areas
            .get_mut(first..end)?
            .iter_mut()
            .zip(sparse.areas)
            .for_each(|(to, from)| *to = from);
        self.used = end;
        Some((first, end))
    }
}

/// The first `count` of a list, where it has so many.
#[inline(always)]
fn first<T>(list: &mut [T], count: u32) -> Option<&mut [T]> {
    list.get_mut(..usize::try_from(count).ok()?)
}

/// Asks about a region.
#[inline(always)]
fn ask_region<S: Sys, B: ReplyBuffer + ?Sized>(
    device: &Device<S>,
    index: u32,
    buffer: &mut B,
    slot: &mut Option<Region>,
    free: &mut Free<'_>,
) -> Result<(), InventoryError> {
    match query::ask_region(&device.sys, &device.fd, index, buffer) {
        Ok(()) => (),
        // An index may be without a region; the others keep their places.
        Err(QueryError::Errno(Errno::EINVAL)) => {
            *slot = None;
            return Ok(());
        }
        Err(error) => return Err(InventoryError::Region { index, error }),
    }
    let reply = buffer.bytes();
    let head = match RegionInfo::head(reply) {
        Ok(head) if head.index == index => head,
        _ => return Err(unusable_region(reply, index)),
    };
    let region = slot.insert(Region {
        flags: head.flags,
        size: head.size,
        offset: head.offset,
        kind: None,
        msix_mappable: false,
        areas: None,
    });
    let Ok(mut check) = RegionCheck::start(reply, &head) else {
        return Err(unusable_region(reply, index));
    };
    loop {
        match check.next() {
            Ok(Some(cap)) => region
                .keep(cap, free)
                .ok_or(InventoryError::TooManyAreas { index })?,
            Ok(None) => return Ok(()),
            Err(_) => return Err(unusable_region(reply, index)),
        }
    }
}

impl Region {
    /// Keeps what a capability says, where there is room for it.
    #[inline(always)]
    fn keep(&mut self, cap: RegionCap<'_>, free: &mut Free<'_>) -> Option<()> {
        match cap {
            RegionCap::SparseMmap(sparse) if self.areas.is_none() => {
                self.areas = Some(free.keep(sparse)?);
            }
            RegionCap::Type(kind) => self.kind = Some(kind),
            RegionCap::MsixMappable => self.msix_mappable = true,
            // Sparse areas that can't be read: nothing may be mapped.
            RegionCap::Unknown(cap) if cap.id == abi::RegionCapId::SPARSE_MMAP.0 => {
                self.areas = Some((0, 0));
            }
            // Known areas stand beside those that can't be read.
            RegionCap::SparseMmap(_)
            | RegionCap::Nvlink2Ssatgt { .. }
            | RegionCap::Nvlink2Lnkspd { .. }
            | RegionCap::Unknown(_) => (),
        }
        Some(())
    }
}

/// What is wrong with the reply for a region. Interpreting it anew for that keeps the many errors
/// out of the common case, which needs the registers.
#[cold]
#[inline(never)]
fn unusable_region(reply: &[u8], index: u32) -> InventoryError {
    let error = match RegionInfo::decode(reply) {
        Err(error) => error.into(),
        Ok(info) => QueryError::Malformed(Malformed::WrongIndex {
            asked: index,
            got: info.index,
        }),
    };
    InventoryError::Region { index, error }
}

impl fmt::Display for InventoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(error) => write!(f, "the device: {error}"),
            Self::Region { index, error } => write!(f, "region {index}: {error}"),
            Self::Irq { index, error } => write!(f, "interrupt {index}: {error}"),
            Self::TooManyRegions { count } => write!(f, "{count} regions are more than expected"),
            Self::TooManyIrqs { count } => write!(f, "{count} interrupts are more than expected"),
            Self::TooManyAreas { index } => {
                write!(
                    f,
                    "with region {index} there are more sparse areas than expected"
                )
            }
        }
    }
}

impl core::error::Error for InventoryError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Device(error) => Some(error),
            Self::Region { error, .. } => Some(error),
            Self::Irq { error, .. } => Some(error),
            Self::TooManyRegions { .. } | Self::TooManyIrqs { .. } | Self::TooManyAreas { .. } => {
                None
            }
        }
    }
}
