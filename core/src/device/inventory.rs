//! All that a device has, asked for once and kept without the replies.

use core::fmt;

use heapless::Vec;

use super::Device;
use crate::abi::{self, DeviceFlags, IrqFlags, RegionFlags, RegionSparseMmapArea};
use crate::caps::{RegionCap, RegionKind};
use crate::query::{QueryError, ReplyBuffer};
use crate::sys::{Errno, Sys};

/// What a device has: up to `R` regions and `I` interrupts, with `A` sparse areas in all.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Inventory<const R: usize, const I: usize, const A: usize> {
    flags: DeviceFlags,
    regions: Vec<Option<Region>, R>,
    irqs: Vec<Option<Interrupt>, I>,
    areas: Vec<RegionSparseMmapArea, A>,
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
    #[inline]
    pub(super) fn ask<S: Sys, B: ReplyBuffer + ?Sized>(
        device: &Device<S>,
        buffer: &mut B,
    ) -> Result<Self, InventoryError> {
        let info = device.info(buffer).map_err(InventoryError::Device)?;
        let (num_regions, num_irqs) = (info.num_regions, info.num_irqs);
        let mut this = Self {
            flags: info.flags,
            regions: Vec::new(),
            irqs: Vec::new(),
            areas: Vec::new(),
        };
        if !usize::try_from(num_regions).is_ok_and(|count| count <= R) {
            return Err(InventoryError::TooManyRegions { count: num_regions });
        }
        if !usize::try_from(num_irqs).is_ok_and(|count| count <= I) {
            return Err(InventoryError::TooManyIrqs { count: num_irqs });
        }
        for index in 0..num_regions {
            let region = this.ask_region(device, index, buffer)?;
            // There is room: it was checked above.
            let _ = this.regions.push(region);
        }
        for index in 0..num_irqs {
            let irq = match device.irq(index) {
                Ok(irq) => Some(Interrupt {
                    flags: irq.flags,
                    count: irq.count,
                }),
                Err(QueryError::Errno(Errno::EINVAL)) => None,
                Err(error) => return Err(InventoryError::Irq { index, error }),
            };
            let _ = this.irqs.push(irq);
        }
        Ok(this)
    }

    #[inline]
    fn ask_region<S: Sys, B: ReplyBuffer + ?Sized>(
        &mut self,
        device: &Device<S>,
        index: u32,
        buffer: &mut B,
    ) -> Result<Option<Region>, InventoryError> {
        let info = match device.region(index, buffer) {
            Ok(info) => info,
            // An index may be without a region; the others keep their places.
            Err(QueryError::Errno(Errno::EINVAL)) => return Ok(None),
            Err(error) => return Err(InventoryError::Region { index, error }),
        };
        let mut region = Region {
            flags: info.flags,
            size: info.size,
            offset: info.offset,
            kind: None,
            msix_mappable: false,
            areas: None,
        };
        for cap in info.caps {
            match cap {
                RegionCap::SparseMmap(sparse) => {
                    let first = self.areas.len();
                    for area in sparse.areas {
                        self.areas
                            .push(area)
                            .map_err(|_| InventoryError::TooManyAreas { index })?;
                    }
                    region.areas = Some((first, self.areas.len()));
                }
                RegionCap::Type(kind) => region.kind = Some(kind),
                RegionCap::MsixMappable => region.msix_mappable = true,
                // Sparse areas that can't be read: nothing may be mapped.
                RegionCap::Unknown(cap) if cap.id == abi::RegionCapId::SPARSE_MMAP.0 => {
                    region.areas.get_or_insert((0, 0));
                }
                RegionCap::Nvlink2Ssatgt { .. }
                | RegionCap::Nvlink2Lnkspd { .. }
                | RegionCap::Unknown(_) => (),
            }
        }
        Ok(Some(region))
    }

    /// The device's flags.
    #[must_use]
    pub const fn flags(&self) -> DeviceFlags {
        self.flags
    }

    /// The regions by index; `None` where an index has none.
    #[must_use]
    pub fn regions(&self) -> &[Option<Region>] {
        &self.regions
    }

    /// The interrupts by index; `None` where an index has none.
    #[must_use]
    pub fn irqs(&self) -> &[Option<Interrupt>] {
        &self.irqs
    }

    /// The areas of a region that may be mapped; `None` where the region has no such list, and
    /// its MMAP flag alone decides.
    #[must_use]
    pub fn areas(&self, region: &Region) -> Option<&[RegionSparseMmapArea]> {
        let (first, end) = region.areas?;
        Some(self.areas.get(first..end).unwrap_or(&[]))
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
