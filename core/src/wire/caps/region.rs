//! The capabilities of a region (`VFIO_DEVICE_GET_REGION_INFO`).

use zerocopy::transmute;

use super::list::read;
use super::{Array, CapError, RegionKind, SparseMmap, Typed, Unknown};
use crate::wire::abi::{
    RegionCapId, RegionInfoCapNvlink2Lnkspd, RegionInfoCapNvlink2Ssatgt, RegionInfoCapSparseMmap,
    RegionInfoCapType, RegionSubtype, RegionType,
};
use crate::wire::chain::{Capability, Full, Writer, kind};

/// A capability of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RegionCap<'a> {
    /// Only these areas may be mapped (`VFIO_REGION_INFO_CAP_SPARSE_MMAP`).
    SparseMmap(SparseMmap<'a>),
    /// What a device-specific region is (`VFIO_REGION_INFO_CAP_TYPE`).
    Type(RegionKind),
    /// The MSI-X table may be mapped with the rest (`VFIO_REGION_INFO_CAP_MSIX_MAPPABLE`).
    MsixMappable,
    /// The compressed address of NVLink2 memory (`VFIO_REGION_INFO_CAP_NVLINK2_SSATGT`).
    Nvlink2Ssatgt {
        /// The address, as the link's target sees it.
        tgt: u64,
    },
    /// The speed of an NVLink2 (`VFIO_REGION_INFO_CAP_NVLINK2_LNKSPD`).
    Nvlink2Lnkspd {
        /// In the encoding of the device tree property `ibm,nvlink-speed`.
        link_speed: u32,
    },
    /// Any other.
    Unknown(Unknown<'a>),
}

/// What is known: ids with their versions, compared at once.
const SPARSE_MMAP: u32 = kind(RegionCapId::SPARSE_MMAP.0, 1);
const TYPE: u32 = kind(RegionCapId::TYPE.0, 1);
const MSIX_MAPPABLE: u32 = kind(RegionCapId::MSIX_MAPPABLE.0, 1);
const NVLINK2_SSATGT: u32 = kind(RegionCapId::NVLINK2_SSATGT.0, 1);
const NVLINK2_LNKSPD: u32 = kind(RegionCapId::NVLINK2_LNKSPD.0, 1);

impl<'a> RegionCap<'a> {
    #[inline]
    fn parse_sparse_mmap(raw: &Capability<'a>) -> Result<Self, CapError> {
        let (fixed, rest) = read::<RegionInfoCapSparseMmap>(raw)?;
        let areas = Array::from_prefix(rest, fixed.nr_areas)
            .ok_or_else(|| CapError::count(raw, fixed.nr_areas))?;
        Ok(Self::SparseMmap(SparseMmap { areas }))
    }

    #[inline]
    fn parse_type(raw: &Capability<'a>) -> Result<Self, CapError> {
        let (cap, _) = read::<RegionInfoCapType>(raw)?;
        Ok(Self::Type(RegionKind::new(
            RegionType(cap.type_),
            RegionSubtype(cap.subtype),
        )))
    }
}

impl<'a> Typed<'a> for RegionCap<'a> {
    #[inline]
    fn parse(raw: &Capability<'a>) -> Result<Self, CapError> {
        Ok(match raw.kind() {
            SPARSE_MMAP => Self::parse_sparse_mmap(raw)?,
            TYPE => Self::parse_type(raw)?,
            MSIX_MAPPABLE => Self::MsixMappable,
            NVLINK2_SSATGT => {
                let (cap, _) = read::<RegionInfoCapNvlink2Ssatgt>(raw)?;
                Self::Nvlink2Ssatgt { tgt: cap.tgt }
            }
            NVLINK2_LNKSPD => {
                let (cap, _) = read::<RegionInfoCapNvlink2Lnkspd>(raw)?;
                Self::Nvlink2Lnkspd {
                    link_speed: cap.link_speed,
                }
            }
            _ => Self::Unknown(Unknown::new(raw)),
        })
    }

    #[inline]
    fn is_known(id: u16, version: u16) -> bool {
        matches!(
            kind(id, version),
            SPARSE_MMAP | TYPE | MSIX_MAPPABLE | NVLINK2_SSATGT | NVLINK2_LNKSPD
        )
    }

    fn emit(&self, chain: &mut Writer<'_>) -> Result<(), Full> {
        // All of them have two numbers of 32 bits, or one of 64, and areas follow.
        let (id, numbers, areas): (_, [u8; 8], &[u8]) = match self {
            Self::SparseMmap(sparse) => {
                let count = u32::try_from(sparse.areas.len()).map_err(|_| Full)?;
                let areas = sparse.areas.as_bytes();
                (RegionCapId::SPARSE_MMAP, transmute!([count, 0]), areas)
            }
            Self::Type(kind) => {
                let kind = [kind.type_().0, kind.subtype().0];
                (RegionCapId::TYPE, transmute!(kind), &[])
            }
            Self::MsixMappable => return chain.push(RegionCapId::MSIX_MAPPABLE.0, 1, &[]),
            Self::Nvlink2Ssatgt { tgt } => (RegionCapId::NVLINK2_SSATGT, tgt.to_ne_bytes(), &[]),
            Self::Nvlink2Lnkspd { link_speed } => {
                let speed = [*link_speed, 0];
                (RegionCapId::NVLINK2_LNKSPD, transmute!(speed), &[])
            }
            Self::Unknown(unknown) => return unknown.emit(chain),
        };
        chain.push(id.0, 1, &[&numbers, areas])
    }
}
