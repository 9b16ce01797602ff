//! Capabilities that own what they hold, to be kept, made up and compared.

use vfio_core::wire::abi::{AtomicCompFlags, IovaRange, RegionSparseMmapArea};
use vfio_core::wire::caps::{
    Array, Caps, DeviceCap, IommuCap, RegionCap, RegionKind, SparseMmap, Typed, Unknown, ZpciBase,
    ZpciGroup,
};

/// A capability as it stood in a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Its id.
    pub id: u16,
    /// Its version.
    pub version: u16,
    /// Where it starts, in bytes from the start of the reply.
    pub offset: u32,
    /// Where the next one starts, or 0.
    pub next: u32,
    /// What it says.
    pub content: Content,
}

/// What a capability of any of the three spaces says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// `VFIO_REGION_INFO_CAP_SPARSE_MMAP`.
    SparseMmap(Vec<RegionSparseMmapArea>),
    /// `VFIO_REGION_INFO_CAP_TYPE`.
    Type(RegionKind),
    /// `VFIO_REGION_INFO_CAP_MSIX_MAPPABLE`.
    MsixMappable,
    /// `VFIO_REGION_INFO_CAP_NVLINK2_SSATGT`.
    Nvlink2Ssatgt(u64),
    /// `VFIO_REGION_INFO_CAP_NVLINK2_LNKSPD`.
    Nvlink2Lnkspd(u32),
    /// `VFIO_DEVICE_INFO_CAP_ZPCI_BASE`.
    ZpciBase(ZpciBase),
    /// `VFIO_DEVICE_INFO_CAP_ZPCI_GROUP`.
    ZpciGroup(ZpciGroup),
    /// `VFIO_DEVICE_INFO_CAP_ZPCI_UTIL`.
    ZpciUtil(Vec<u8>),
    /// `VFIO_DEVICE_INFO_CAP_ZPCI_PFIP`.
    ZpciPfip(Vec<u8>),
    /// `VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP`.
    PciAtomicComp(AtomicCompFlags),
    /// `VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE`.
    IovaRange(Vec<IovaRange>),
    /// `VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION`.
    Migration {
        /// No flag is defined.
        flags: u32,
        /// A bit for each page size.
        pgsize_bitmap: u64,
        /// Bytes.
        max_dirty_bitmap_size: u64,
    },
    /// `VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL`.
    DmaAvail(u32),
    /// Any other, with what stands behind its header.
    Unknown {
        /// The id.
        id: u16,
        /// The version.
        version: u16,
        /// The bytes.
        raw: Vec<u8>,
    },
}

/// Copies checked capabilities, and asserts that iterating them is as complete as their chain.
pub fn collect<'a, C: Typed<'a> + Into<Content>>(caps: &Caps<'a, C>) -> Vec<Capability> {
    let links: Vec<_> = caps.chain().iter().collect();
    let contents: Vec<Content> = caps.iter().map(Into::into).collect();
    assert_eq!(links.len(), contents.len());
    links
        .into_iter()
        .zip(contents)
        .map(|(link, content)| Capability {
            id: link.id,
            version: link.version,
            offset: link.offset,
            next: link.next,
            content,
        })
        .collect()
}

impl Content {
    /// Returns the capability of a region.
    ///
    /// # Panics
    /// Where it is none.
    #[must_use]
    pub fn to_region(&self) -> RegionCap<'_> {
        match self {
            Self::SparseMmap(areas) => RegionCap::SparseMmap(SparseMmap::new(areas)),
            Self::Type(kind) => RegionCap::Type(*kind),
            Self::MsixMappable => RegionCap::MsixMappable,
            Self::Nvlink2Ssatgt(tgt) => RegionCap::Nvlink2Ssatgt { tgt: *tgt },
            Self::Nvlink2Lnkspd(link_speed) => RegionCap::Nvlink2Lnkspd {
                link_speed: *link_speed,
            },
            Self::Unknown { id, version, raw } => RegionCap::Unknown(unknown(*id, *version, raw)),
            other => panic!("not of a region: {other:?}"),
        }
    }

    /// Returns the capability of a device.
    ///
    /// # Panics
    /// Where it is none.
    #[must_use]
    pub fn to_device(&self) -> DeviceCap<'_> {
        match self {
            Self::ZpciBase(base) => DeviceCap::ZpciBase(*base),
            Self::ZpciGroup(group) => DeviceCap::ZpciGroup(*group),
            Self::ZpciUtil(util_str) => DeviceCap::ZpciUtil { util_str },
            Self::ZpciPfip(pfip) => DeviceCap::ZpciPfip { pfip },
            Self::PciAtomicComp(flags) => DeviceCap::PciAtomicComp { flags: *flags },
            Self::Unknown { id, version, raw } => DeviceCap::Unknown(unknown(*id, *version, raw)),
            other => panic!("not of a device: {other:?}"),
        }
    }

    /// Returns the capability of an IOMMU.
    ///
    /// # Panics
    /// Where it is none.
    #[must_use]
    pub fn to_iommu(&self) -> IommuCap<'_> {
        match self {
            Self::IovaRange(ranges) => IommuCap::IovaRange(Array::new(ranges)),
            Self::Migration {
                flags,
                pgsize_bitmap,
                max_dirty_bitmap_size,
            } => IommuCap::Migration {
                flags: *flags,
                pgsize_bitmap: *pgsize_bitmap,
                max_dirty_bitmap_size: *max_dirty_bitmap_size,
            },
            Self::DmaAvail(avail) => IommuCap::DmaAvail { avail: *avail },
            Self::Unknown { id, version, raw } => IommuCap::Unknown(unknown(*id, *version, raw)),
            other => panic!("not of an IOMMU: {other:?}"),
        }
    }
}

/// Returns a capability to be written: its offset is the writer's affair.
const fn unknown(id: u16, version: u16, raw: &[u8]) -> Unknown<'_> {
    Unknown {
        id,
        version,
        offset: 0,
        raw,
    }
}

impl From<RegionCap<'_>> for Content {
    fn from(cap: RegionCap<'_>) -> Self {
        match cap {
            RegionCap::SparseMmap(sparse) => Self::SparseMmap(sparse.areas.iter().collect()),
            RegionCap::Type(kind) => Self::Type(kind),
            RegionCap::MsixMappable => Self::MsixMappable,
            RegionCap::Nvlink2Ssatgt { tgt } => Self::Nvlink2Ssatgt(tgt),
            RegionCap::Nvlink2Lnkspd { link_speed } => Self::Nvlink2Lnkspd(link_speed),
            RegionCap::Unknown(cap) => cap.into(),
        }
    }
}

impl From<DeviceCap<'_>> for Content {
    fn from(cap: DeviceCap<'_>) -> Self {
        match cap {
            DeviceCap::ZpciBase(base) => Self::ZpciBase(base),
            DeviceCap::ZpciGroup(group) => Self::ZpciGroup(group),
            DeviceCap::ZpciUtil { util_str } => Self::ZpciUtil(util_str.to_vec()),
            DeviceCap::ZpciPfip { pfip } => Self::ZpciPfip(pfip.to_vec()),
            DeviceCap::PciAtomicComp { flags } => Self::PciAtomicComp(flags),
            DeviceCap::Unknown(cap) => cap.into(),
        }
    }
}

impl From<IommuCap<'_>> for Content {
    fn from(cap: IommuCap<'_>) -> Self {
        match cap {
            IommuCap::IovaRange(ranges) => Self::IovaRange(ranges.iter().collect()),
            IommuCap::Migration {
                flags,
                pgsize_bitmap,
                max_dirty_bitmap_size,
            } => Self::Migration {
                flags,
                pgsize_bitmap,
                max_dirty_bitmap_size,
            },
            IommuCap::DmaAvail { avail } => Self::DmaAvail(avail),
            IommuCap::Unknown(cap) => cap.into(),
        }
    }
}

impl From<Unknown<'_>> for Content {
    fn from(cap: Unknown<'_>) -> Self {
        Self::Unknown {
            id: cap.id,
            version: cap.version,
            raw: cap.raw.to_vec(),
        }
    }
}
