//! What device and driver agree on (Virtual I/O Device Specification 1.2, section 2.2).

use core::ops::{BitAnd, BitOr};

/// Feature bits: those below 24 are of one type of device, the others of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Features(pub u64);

impl Features {
    /// A descriptor can name a table of descriptors (`VIRTIO_F_INDIRECT_DESC`).
    pub const INDIRECT_DESC: Self = Self(1 << 28);
    /// Both sides say when they want to be told (`VIRTIO_F_EVENT_IDX`).
    pub const EVENT_IDX: Self = Self(1 << 29);
    /// The device keeps to version 1 of the specification (`VIRTIO_F_VERSION_1`).
    pub const VERSION_1: Self = Self(1 << 32);
    /// The device's addresses go through the IOMMU (`VIRTIO_F_ACCESS_PLATFORM`).
    pub const ACCESS_PLATFORM: Self = Self(1 << 33);
    /// Memory has to be ordered as for a device of hardware (`VIRTIO_F_ORDER_PLATFORM`).
    pub const ORDER_PLATFORM: Self = Self(1 << 36);

    /// What virtqueues have besides, where both sides know it.
    pub(super) const RING: Self = Self(Self::INDIRECT_DESC.0 | Self::EVENT_IDX.0);

    /// Tells whether all bits of `other` are among them.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns the low 32 bits and the high ones, as registers have them.
    pub(super) fn halves(self) -> [u32; 2] {
        let [a, b, c, d, e, f, g, h] = self.0.to_le_bytes();
        [
            u32::from_le_bytes([a, b, c, d]),
            u32::from_le_bytes([e, f, g, h]),
        ]
    }

    /// Returns the bits of both halves.
    pub(super) fn from_halves([low, high]: [u32; 2]) -> Self {
        Self(u64::from(low) | u64::from(high) << 32)
    }
}

impl BitOr for Features {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Features {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}
