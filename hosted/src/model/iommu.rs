//! The IOMMU that a device is behind.

use std::vec;
use std::vec::Vec;

use vfio_core::wire::abi::IovaRange;
use vfio_core::wire::caps::{self, Array, Unknown};
use vfio_core::wire::server::{self, Dialect, IommuDriver};

/// All addresses.
pub(crate) const EVERYTHING: IovaRange = IovaRange {
    start: 0,
    end: u64::MAX,
};

/// How many mappings a container can have where it does not tell (`dma_entry_limit` of
/// vfio_iommu_type1).
const DMA_LIMIT: usize = 65_535;

/// What a container says of its IOMMU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iommu {
    /// Who answers.
    pub driver: IommuDriver,
    /// A bit for each size, in bytes, that a mapping is made of.
    pub pgsizes: u64,
    /// The capabilities, in order.
    pub caps: Vec<IommuCap>,
    /// Whether it forces cache coherency (`VFIO_DMA_CC_IOMMU`).
    pub is_coherent: bool,
}

/// A capability of an IOMMU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IommuCap {
    /// The IOVAs that can be mapped; the end of a range belongs to it.
    IovaRange(Vec<IovaRange>),
    /// Dirty page tracking.
    Migration {
        /// A bit for each page size, in bytes, at which dirty pages are tracked.
        pgsize_bitmap: u64,
        /// The largest bitmap that can be asked for, in bytes.
        max_dirty_bitmap_size: u64,
    },
    /// How many more mappings can be made.
    DmaAvail {
        /// The number.
        avail: u32,
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

impl Iommu {
    /// Creates an emulated Intel IOMMU with addresses of `bits` bits, as Linux 6.12 tells of it:
    /// pages of 4 KiB, 2 MiB and 1 GiB, and the window for interrupts left out of the IOVAs.
    #[must_use]
    pub fn intel(bits: u32) -> Self {
        let last = u64::MAX
            .checked_shr(64_u32.saturating_sub(bits))
            .unwrap_or(0);
        Self {
            driver: IommuDriver::Type1,
            pgsizes: 1 << 12 | 1 << 21 | 1 << 30,
            caps: vec![
                IommuCap::Migration {
                    pgsize_bitmap: 1 << 12,
                    max_dirty_bitmap_size: 1 << 28,
                },
                IommuCap::DmaAvail { avail: 0xffff },
                IommuCap::IovaRange(vec![
                    IovaRange {
                        start: 0,
                        end: 0xfedf_ffff,
                    },
                    IovaRange {
                        start: 0xfef0_0000,
                        end: last,
                    },
                ]),
            ],
            is_coherent: false,
        }
    }

    /// Returns the same, as Linux told of it before 5.4: without capabilities.
    #[must_use]
    pub fn without_caps(mut self) -> Self {
        self.caps.clear();
        self
    }

    /// Returns the IOVAs that can be mapped: all of them where it does not tell.
    pub(crate) fn iova_ranges(&self) -> Vec<IovaRange> {
        let told = self.caps.iter().find_map(|cap| match cap {
            IommuCap::IovaRange(ranges) => Some(ranges.clone()),
            _ => None,
        });
        told.unwrap_or_else(|| vec![EVERYTHING])
    }

    /// Returns the size of the smallest page, in bytes.
    pub(crate) fn page(&self) -> u64 {
        1_u64
            .checked_shl(self.pgsizes.trailing_zeros())
            .unwrap_or(1)
    }

    /// Returns how many mappings can be made.
    pub(crate) fn limit(&self) -> usize {
        let told = self.caps.iter().find_map(|cap| match cap {
            IommuCap::DmaAvail { avail } => usize::try_from(*avail).ok(),
            _ => None,
        });
        told.unwrap_or(DMA_LIMIT)
    }

    /// Returns the same, after `used` mappings were made.
    pub(super) fn with_used(&self, used: usize) -> Self {
        let mut iommu = self.clone();
        for cap in &mut iommu.caps {
            if let IommuCap::DmaAvail { avail } = cap {
                *avail = avail.saturating_sub(u32::try_from(used).unwrap_or(u32::MAX));
            }
        }
        iommu
    }

    /// Returns what the container of an iommufd tells.
    pub(crate) fn of_iommufd(pgsizes: u64, ranges: Vec<IovaRange>) -> Self {
        Self {
            driver: IommuDriver::Iommufd,
            pgsizes,
            caps: vec![
                IommuCap::DmaAvail { avail: u32::MAX },
                IommuCap::IovaRange(ranges),
            ],
            is_coherent: false,
        }
    }

    /// Lends the IOMMU to the answering side.
    pub fn with_server<R>(
        &self,
        dialect: Dialect,
        ask: impl FnOnce(&server::IommuReply<'_>) -> R,
    ) -> R {
        let caps: Vec<_> = self.caps.iter().map(IommuCap::lend).collect();
        ask(&server::IommuReply {
            driver: self.driver,
            iova_pgsizes: self.pgsizes,
            caps: &caps,
            dialect,
        })
    }
}

impl IommuCap {
    fn lend(&self) -> caps::IommuCap<'_> {
        match self {
            Self::IovaRange(ranges) => caps::IommuCap::IovaRange(Array::new(ranges)),
            Self::Migration {
                pgsize_bitmap,
                max_dirty_bitmap_size,
            } => caps::IommuCap::Migration {
                flags: 0,
                pgsize_bitmap: *pgsize_bitmap,
                max_dirty_bitmap_size: *max_dirty_bitmap_size,
            },
            Self::DmaAvail { avail } => caps::IommuCap::DmaAvail { avail: *avail },
            Self::Other { id, version, body } => caps::IommuCap::Unknown(Unknown {
                id: *id,
                version: *version,
                offset: 0,
                raw: body,
            }),
        }
    }
}

/// [`Iommu::intel`] with 48 bits.
impl Default for Iommu {
    fn default() -> Self {
        Self::intel(48)
    }
}
