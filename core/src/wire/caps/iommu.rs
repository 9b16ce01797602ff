//! The capabilities of a type1 IOMMU (`VFIO_IOMMU_GET_INFO`).

use super::list::{push, read};
use super::{Array, CapError, Typed, Unknown};
use crate::wire::abi::{
    IommuCapId, IommuType1InfoCapIovaRange, IommuType1InfoCapMigration, IommuType1InfoDmaAvail,
    IovaRange,
};
use crate::wire::chain::{Capability, Full, Writer};

/// A capability of an IOMMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum IommuCap<'a> {
    /// The IOVAs that can be mapped (`VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE`); the end of a range
    /// belongs to it.
    IovaRange(Array<'a, IovaRange>),
    /// Dirty page tracking (`VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION`).
    Migration {
        /// No flag is defined.
        flags: u32,
        /// A bit for each page size, in bytes, at which dirty pages are tracked.
        pgsize_bitmap: u64,
        /// The largest bitmap that can be asked for, in bytes.
        max_dirty_bitmap_size: u64,
    },
    /// How many more mappings can be made (`VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL`).
    DmaAvail {
        /// The number.
        avail: u32,
    },
    /// Any other.
    Unknown(Unknown<'a>),
}

impl<'a> Typed<'a> for IommuCap<'a> {
    #[inline]
    fn parse(raw: &Capability<'a>) -> Result<Self, CapError> {
        Ok(match (IommuCapId(raw.id), raw.version) {
            (IommuCapId::IOVA_RANGE, 1) => {
                let (fixed, rest) = read::<IommuType1InfoCapIovaRange>(raw)?;
                let ranges = Array::<IovaRange>::from_prefix(rest, fixed.nr_iovas)
                    .ok_or_else(|| CapError::count(raw, fixed.nr_iovas))?;
                match (0_u32..)
                    .zip(ranges)
                    .find(|(_, range)| range.end < range.start)
                {
                    Some((index, _)) => {
                        return Err(CapError::InvertedRange {
                            offset: raw.offset,
                            index,
                        });
                    }
                    None => Self::IovaRange(ranges),
                }
            }
            (IommuCapId::MIGRATION, 1) => {
                let (cap, _) = read::<IommuType1InfoCapMigration>(raw)?;
                Self::Migration {
                    flags: cap.flags,
                    pgsize_bitmap: cap.pgsize_bitmap,
                    max_dirty_bitmap_size: cap.max_dirty_bitmap_size,
                }
            }
            (IommuCapId::DMA_AVAIL, 1) => {
                let (cap, _) = read::<IommuType1InfoDmaAvail>(raw)?;
                Self::DmaAvail { avail: cap.avail }
            }
            _ => Self::Unknown(Unknown::new(raw)),
        })
    }

    #[inline]
    fn is_known(id: u16, version: u16) -> bool {
        matches!(
            (IommuCapId(id), version),
            (
                IommuCapId::IOVA_RANGE | IommuCapId::MIGRATION | IommuCapId::DMA_AVAIL,
                1
            )
        )
    }

    fn emit(&self, chain: &mut Writer<'_>) -> Result<(), Full> {
        match *self {
            Self::IovaRange(ranges) => {
                let count = u32::try_from(ranges.len()).map_err(|_| Full)?;
                let parts: [&[u8]; 3] = [&count.to_ne_bytes(), &[0; 4], ranges.as_bytes()];
                chain.push(IommuCapId::IOVA_RANGE.0, 1, &parts)
            }
            Self::Migration {
                flags,
                pgsize_bitmap,
                max_dirty_bitmap_size,
            } => {
                let cap = IommuType1InfoCapMigration {
                    flags,
                    pgsize_bitmap,
                    max_dirty_bitmap_size,
                    ..Default::default()
                };
                push(chain, IommuCapId::MIGRATION.0, 1, &cap)
            }
            Self::DmaAvail { avail } => {
                chain.push(IommuCapId::DMA_AVAIL.0, 1, &[&avail.to_ne_bytes()])
            }
            Self::Unknown(unknown) => unknown.emit(chain),
        }
    }
}
