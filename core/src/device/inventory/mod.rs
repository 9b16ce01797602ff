//! All that a device has, asked for once and kept without the replies.

mod region;

pub use region::InventoryRegion;

use core::fmt;

use super::Device;
use crate::query::{self, QueryError, ReplyBuffer};
use crate::sys::{Errno, Sys};
use crate::wire::abi::{self, DeviceFlags, IrqFlags, RegionSparseMmapArea};
use crate::wire::info::IrqInfo;
use region::{AreaList, Full, Said};

/// What a device has: up to `R` regions and `I` interrupts, with `A` sparse areas in all.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Inventory<const R: usize, const I: usize, const A: usize> {
    flags: DeviceFlags,
    num_regions: u32,
    num_irqs: u32,
    regions: [Option<InventoryRegion>; R],
    irqs: [Option<InventoryIrq>; I],
    areas: AreaList<A>,
}

/// An interrupt index of an [`Inventory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InventoryIrq {
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
            regions: [None; R],
            irqs: [None; I],
            areas: AreaList::new(),
        }
    }

    /// Asks `device` about everything that it has, and keeps that in place of what was kept
    /// before; after an error, nothing is kept.
    pub(super) fn ask<S: Sys, B: ReplyBuffer + ?Sized>(
        &mut self,
        device: &Device<S>,
        buffer: &mut B,
    ) -> Result<(), InventoryError> {
        let answer = self.fill(device, buffer);
        if answer.is_err() {
            self.flags = DeviceFlags::empty();
            (self.num_regions, self.num_irqs) = (0, 0);
        }
        answer
    }

    /// [`Inventory::ask`] without an end to what is kept after an error.
    fn fill<S: Sys, B: ReplyBuffer + ?Sized>(
        &mut self,
        device: &Device<S>,
        buffer: &mut B,
    ) -> Result<(), InventoryError> {
        let info = device.info(buffer).map_err(InventoryError::Device)?;
        (self.num_regions, self.num_irqs) = (info.num_regions, info.num_irqs);
        self.flags = info.flags;
        let (count, regions) = (self.num_regions, &mut self.regions);
        let regions = start_mut(regions, count).ok_or(InventoryError::TooManyRegions { count })?;
        let (count, irqs) = (self.num_irqs, &mut self.irqs);
        let irqs = start_mut(irqs, count).ok_or(InventoryError::TooManyIrqs { count })?;
        self.areas.clear();
        for (index, region) in (0..).zip(regions) {
            ask_region(device, index, buffer, region, &mut self.areas)?;
        }
        for (index, irq) in (0..).zip(irqs) {
            *irq = ask_irq(device, index)?;
        }
        Ok(())
    }

    /// The device's flags.
    #[must_use]
    pub const fn flags(&self) -> DeviceFlags {
        self.flags
    }

    /// The regions by index; `None` where an index has none.
    #[must_use]
    pub fn regions(&self) -> &[Option<InventoryRegion>] {
        start(&self.regions, self.num_regions)
    }

    /// The interrupts by index; `None` where an index has none.
    #[must_use]
    pub fn irqs(&self) -> &[Option<InventoryIrq>] {
        start(&self.irqs, self.num_irqs)
    }

    /// The areas of a region that may be mapped; `None` where the region has no such list, and
    /// its MMAP flag alone decides.
    #[must_use]
    pub fn areas(&self, region: &InventoryRegion) -> Option<&[RegionSparseMmapArea]> {
        self.areas.of(region)
    }
}

impl<const R: usize, const I: usize, const A: usize> Default for Inventory<R, I, A> {
    fn default() -> Self {
        Self::new()
    }
}

/// The first `count` of a list, which has so many.
fn start<T>(list: &[T], count: u32) -> &[T] {
    usize::try_from(count)
        .ok()
        .and_then(|count| list.get(..count))
        .unwrap_or_default()
}

/// The first `count` of a list, if it has so many.
fn start_mut<T>(list: &mut [T], count: u32) -> Option<&mut [T]> {
    list.get_mut(..usize::try_from(count).ok()?)
}

/// Asks about a region. An index may be without one; the others keep their places.
fn ask_region<S: Sys, B: ReplyBuffer + ?Sized, const A: usize>(
    device: &Device<S>,
    index: u32,
    buffer: &mut B,
    slot: &mut Option<InventoryRegion>,
    areas: &mut AreaList<A>,
) -> Result<(), InventoryError> {
    let (mut said, mut kept) = (Said::default(), Ok(()));
    let answer = query::region_each(&device.sys, &device.fd, index, buffer, |cap| {
        kept = kept.and_then(|()| said.keep(&cap, areas));
    });
    match answer {
        Ok(info) => *slot = Some(InventoryRegion::new(&info, said)),
        Err(QueryError::Errno(Errno::EINVAL)) => *slot = None,
        Err(error) => return Err(InventoryError::Region { index, error }),
    }
    kept.map_err(|Full| InventoryError::TooManyAreas { index })
}

/// Asks about an interrupt index. It may be without one; the others keep their places.
fn ask_irq<S: Sys>(device: &Device<S>, index: u32) -> Result<Option<InventoryIrq>, InventoryError> {
    match device.irq(index) {
        Ok(IrqInfo { flags, count, .. }) => Ok(Some(InventoryIrq { flags, count })),
        Err(QueryError::Errno(Errno::EINVAL)) => Ok(None),
        Err(error) => Err(InventoryError::Irq { index, error }),
    }
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
