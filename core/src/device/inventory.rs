//! All that a device has, asked for once and kept without the replies.

use core::fmt;

use zerocopy::IntoBytes as _;

use super::Device;
use super::region::{AreaList, Region};
use crate::abi::{self, DeviceFlags, IrqFlags, RegionSparseMmapArea};
use crate::info::{DeviceInfo, IrqInfo, Malformed, RegionInfo};
use crate::query::{self, QueryError, ReplyBuffer};
use crate::sys::{Errno, InfoRequest, Sys};

/// What a device has: up to `R` regions and `I` interrupts, with `A` sparse areas in all.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Inventory<const R: usize, const I: usize, const A: usize> {
    flags: DeviceFlags,
    num_regions: u32,
    num_irqs: u32,
    regions: [Option<Region>; R],
    irqs: [Option<Interrupt>; I],
    areas: AreaList<A>,
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
            regions: [None; R],
            irqs: [None; I],
            areas: AreaList::new(),
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
        let answer = self.fill(device, buffer);
        if answer.is_err() {
            self.flags = DeviceFlags::empty();
            (self.num_regions, self.num_irqs) = (0, 0);
        }
        answer
    }

    /// [`Inventory::ask`] without an end to what is kept after an error.
    #[inline(always)]
    fn fill<S: Sys, B: ReplyBuffer + ?Sized>(
        &mut self,
        device: &Device<S>,
        buffer: &mut B,
    ) -> Result<(), InventoryError> {
        query::ask_device(&device.sys, &device.fd, buffer).map_err(InventoryError::Device)?;
        let reply = buffer.bytes();
        let (flags, num_regions, num_irqs) = match DeviceInfo::plain(reply) {
            Some(head) => (head.flags, head.num_regions, head.num_irqs),
            None => {
                let info = DeviceInfo::decode(reply);
                let info = info.map_err(|error| InventoryError::Device(error.into()))?;
                (info.flags, info.num_regions, info.num_irqs)
            }
        };
        if is_more_than(num_regions, R) {
            return Err(InventoryError::TooManyRegions { count: num_regions });
        }
        if is_more_than(num_irqs, I) {
            return Err(InventoryError::TooManyIrqs { count: num_irqs });
        }
        self.flags = flags;
        self.num_regions = num_regions;
        self.num_irqs = num_irqs;
        self.areas.clear();
        for (index, region) in (0..).zip(start_mut(&mut self.regions, num_regions)) {
            ask_region(device, index, buffer, region, &mut self.areas)?;
        }
        for (index, irq) in (0..).zip(start_mut(&mut self.irqs, num_irqs)) {
            ask_irq(device, index, irq)?;
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
    pub fn regions(&self) -> &[Option<Region>] {
        start(&self.regions, self.num_regions)
    }

    /// The interrupts by index; `None` where an index has none.
    #[must_use]
    pub fn irqs(&self) -> &[Option<Interrupt>] {
        start(&self.irqs, self.num_irqs)
    }

    /// The areas of a region that may be mapped; `None` where the region has no such list, and
    /// its MMAP flag alone decides.
    #[must_use]
    pub fn areas(&self, region: &Region) -> Option<&[RegionSparseMmapArea]> {
        self.areas.of(region)
    }
}

impl<const R: usize, const I: usize, const A: usize> Default for Inventory<R, I, A> {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether there is no room for `count` where there is room for `room`.
#[inline(always)]
fn is_more_than(count: u32, room: usize) -> bool {
    usize::try_from(count).map_or(true, |count| count > room)
}

/// The first `count` of a list, which has so many.
fn start<T>(list: &[T], count: u32) -> &[T] {
    usize::try_from(count)
        .ok()
        .and_then(|count| list.get(..count))
        .unwrap_or_default()
}

/// The first `count` of a list, which has so many.
#[inline(always)]
fn start_mut<T>(list: &mut [T], count: u32) -> &mut [T] {
    usize::try_from(count)
        .ok()
        .and_then(|count| list.get_mut(..count))
        .unwrap_or_default()
}

/// Asks about a region.
#[inline(always)]
fn ask_region<S: Sys, B: ReplyBuffer + ?Sized, const A: usize>(
    device: &Device<S>,
    index: u32,
    buffer: &mut B,
    slot: &mut Option<Region>,
    areas: &mut AreaList<A>,
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
    match Region::keep(reply, index, slot, areas) {
        Some(()) => Ok(()),
        None => Err(unusable_region(reply, index)),
    }
}

/// Asks about an interrupt index.
#[inline(always)]
fn ask_irq<S: Sys>(
    device: &Device<S>,
    index: u32,
    slot: &mut Option<Interrupt>,
) -> Result<(), InventoryError> {
    let mut reply = query::irq_question(index);
    if let Err(errno) = device
        .sys
        .ioctl_info(&device.fd, InfoRequest::Irq, reply.as_mut_bytes())
    {
        return absent_irq(errno, index, slot);
    }
    let Some(info) = IrqInfo::of_reply(reply.as_bytes(), index) else {
        return Err(unusable_irq(&reply, index));
    };
    *slot = Some(Interrupt {
        flags: info.flags,
        count: info.count,
    });
    Ok(())
}

/// An index may be without an interrupt; the others keep their places.
#[cold]
#[inline(never)]
fn absent_irq(
    errno: Errno,
    index: u32,
    slot: &mut Option<Interrupt>,
) -> Result<(), InventoryError> {
    if errno == Errno::EINVAL {
        *slot = None;
        return Ok(());
    }
    let error = QueryError::Errno(errno);
    Err(InventoryError::Irq { index, error })
}

/// Why the reply for an interrupt index was not kept.
#[cold]
#[inline(never)]
fn unusable_irq(reply: &abi::IrqInfo, index: u32) -> InventoryError {
    let error = match query::irq_answer(reply, index) {
        Err(error) => error,
        Ok(info) => QueryError::Malformed(Malformed::WrongIndex {
            asked: index,
            got: info.index,
        }),
    };
    InventoryError::Irq { index, error }
}

/// Why the reply for a region was not kept. Interpreting it anew for that keeps the many errors
/// out of the common case, which needs the registers.
#[cold]
#[inline(never)]
fn unusable_region(reply: &[u8], index: u32) -> InventoryError {
    let error = match RegionInfo::decode(reply) {
        Err(error) => error.into(),
        Ok(info) if info.index == index => return InventoryError::TooManyAreas { index },
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
