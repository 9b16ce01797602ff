//! What a device says of itself.

use std::vec::Vec;

use vfio_core::wire::abi::{
    AtomicCompFlags, DeviceFlags, HotResetFlags, MigrationFlags, PciDependentDevice, RegionFlags,
    RegionSparseMmapArea,
};
use vfio_core::wire::caps::{self, RegionKind, SparseMmap, Unknown};
use vfio_core::wire::server::{self, Dialect, IrqReply};

use super::{Config, Iommu};

/// A device, as its INFO ioctls describe it.
///
/// The default is a device of no kind with nothing in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Its flags; CAPS is set where there are capabilities.
    pub flags: DeviceFlags,
    /// Its capabilities, in order.
    pub caps: Vec<DeviceCap>,
    /// Its regions by index; an index without one answers `EINVAL`.
    pub regions: Vec<Option<RegionDescription>>,
    /// Its interrupts by index; an index without one answers `EINVAL`.
    pub irqs: Vec<Option<IrqReply>>,
    /// What a hot reset takes along.
    pub hot_reset: HotReset,
    /// What region 7 reads as.
    pub config: Config,
    /// The MSI-X table, which is not reached through reads and writes.
    pub msix_table: Option<MsixTable>,
    /// The IOMMU that the device is behind.
    pub iommu: Iommu,
    /// Whether it migrates, and which states it has then; none where it does not.
    pub migration: MigrationFlags,
    /// Whether it logs what it writes by DMA.
    pub logs_dma: bool,
    /// The kernel to answer like.
    pub dialect: Dialect,
}

/// A region of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionDescription {
    /// Its flags; CAPS is set where there are capabilities.
    pub flags: RegionFlags,
    /// Bytes.
    pub size: u64,
    /// Where it lies in the device's file, in bytes.
    pub offset: u64,
    /// Its capabilities, in order.
    pub caps: Vec<RegionCap>,
}

/// A capability of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegionCap {
    /// Only these areas may be mapped.
    SparseMmap(Vec<RegionSparseMmapArea>),
    /// What a device-specific region is.
    Type(RegionKind),
    /// The MSI-X table may be mapped with the rest.
    MsixMappable,
    /// Any other.
    Other {
        /// The id.
        id: u16,
        /// The version.
        version: u16,
        /// The bytes behind the header.
        body: Vec<u8>,
    },
}

/// A capability of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceCap {
    /// The atomic operations that the root complex completes.
    PciAtomicComp {
        /// The widths.
        flags: AtomicCompFlags,
    },
    /// Any other.
    Other {
        /// The id.
        id: u16,
        /// The version.
        version: u16,
        /// The bytes behind the header.
        body: Vec<u8>,
    },
}

/// What a hot reset of a device takes along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HotReset {
    /// It can't be reset so, like a device on the root bus: `ENODEV`.
    #[default]
    None,
    /// Itself, alone on its bus.
    Itself,
    /// These devices.
    Devices(Vec<PciDependentDevice>),
}

/// Where the MSI-X table is: reads of it give ones, and writes are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MsixTable {
    /// The index of the region.
    pub region: u32,
    /// Bytes from the start of the region.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

impl RegionDescription {
    /// Creates a region at the place that vfio-pci gives the index: each is a TiB after the other.
    #[must_use]
    pub fn new(index: u32, flags: RegionFlags, size: u64) -> Self {
        Self {
            flags,
            size,
            offset: u64::from(index) << 40,
            caps: Vec::new(),
        }
    }

    /// Appends a capability.
    #[must_use]
    pub fn with_cap(mut self, cap: RegionCap) -> Self {
        self.caps.push(cap);
        self
    }

    fn lend<'a>(&self, caps: &'a [caps::RegionCap<'a>]) -> server::RegionReply<'a> {
        server::RegionReply {
            flags: self.flags,
            size: self.size,
            offset: self.offset,
            caps,
        }
    }

    /// Returns how far `offset` of the device's file lies in the region, where it does.
    pub(crate) fn position(&self, offset: u64) -> Option<u64> {
        offset
            .checked_sub(self.offset)
            .filter(|position| *position < self.size)
    }
}

impl Description {
    /// Lends the device to the answering side; `at` is its address and its group, for
    /// [`HotReset::Itself`].
    pub fn with_server<R>(
        &self,
        at: PciDependentDevice,
        ask: impl FnOnce(&server::DeviceReply<'_>) -> R,
    ) -> R {
        let caps: Vec<_> = self.caps.iter().map(DeviceCap::lend).collect();
        let region_caps: Vec<Vec<_>> = self
            .regions
            .iter()
            .map(|region| {
                let caps = region.iter().flat_map(|region| &region.caps);
                caps.map(RegionCap::lend).collect()
            })
            .collect();
        let regions = self.regions.iter().zip(&region_caps);
        let regions: Vec<_> = regions
            .map(|(region, caps)| Some(region.as_ref()?.lend(caps)))
            .collect();
        let itself = [at];
        let hot_reset = match &self.hot_reset {
            HotReset::None => None,
            HotReset::Itself => Some(&itself[..]),
            HotReset::Devices(devices) => Some(devices.as_slice()),
        };
        ask(&server::DeviceReply {
            flags: self.flags,
            caps: &caps,
            regions: &regions,
            irqs: &self.irqs,
            hot_reset: hot_reset.map(|devices| server::HotReset {
                flags: HotResetFlags::empty(),
                devices,
            }),
            dialect: self.dialect,
        })
    }
}

impl RegionCap {
    fn lend(&self) -> caps::RegionCap<'_> {
        match self {
            Self::SparseMmap(areas) => caps::RegionCap::SparseMmap(SparseMmap::new(areas)),
            Self::Type(kind) => caps::RegionCap::Type(*kind),
            Self::MsixMappable => caps::RegionCap::MsixMappable,
            Self::Other { id, version, body } => {
                caps::RegionCap::Unknown(unknown(*id, *version, body))
            }
        }
    }
}

impl DeviceCap {
    fn lend(&self) -> caps::DeviceCap<'_> {
        match self {
            Self::PciAtomicComp { flags } => caps::DeviceCap::PciAtomicComp { flags: *flags },
            Self::Other { id, version, body } => {
                caps::DeviceCap::Unknown(unknown(*id, *version, body))
            }
        }
    }
}

const fn unknown(id: u16, version: u16, raw: &[u8]) -> Unknown<'_> {
    Unknown {
        id,
        version,
        offset: 0,
        raw,
    }
}
