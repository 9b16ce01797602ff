//! Types of device specific regions, and the layouts of those that have one.

use super::define;

ids! {
    /// Type of a device specific region: `VFIO_REGION_TYPE_*` (linux/vfio.h). A type with
    /// [`PCI_VENDOR_TYPE`](Self::PCI_VENDOR_TYPE) set belongs to the PCI vendor in its low 16 bits.
    pub struct RegionType: u32 {
        /// Graphics; subtype [`RegionSubtype::GFX_EDID`].
        GFX = 1;
        /// s390 channel devices; subtypes `RegionSubtype::CCW_*`.
        CCW = 2;
        /// The first migration protocol, which no kernel has any more.
        MIGRATION_DEPRECATED = 3;
    }
}

impl RegionType {
    /// `VFIO_REGION_TYPE_PCI_VENDOR_TYPE`: the bit of a type that belongs to a PCI vendor.
    pub const PCI_VENDOR_TYPE: u32 = 1 << 31;
    /// `VFIO_REGION_TYPE_PCI_VENDOR_MASK`: the bits with the vendor's id.
    pub const PCI_VENDOR_MASK: u32 = 0xffff;
    /// Regions of Intel's graphics devices; subtypes `RegionSubtype::INTEL_IGD_*`.
    pub const INTEL: Self = Self::pci_vendor(0x8086);
    /// Regions of NVIDIA's devices; subtype [`RegionSubtype::NVIDIA_NVLINK2_RAM`].
    pub const NVIDIA: Self = Self::pci_vendor(0x10de);
    /// Regions of IBM's devices; subtype [`RegionSubtype::IBM_NVLINK2_ATSD`].
    pub const IBM: Self = Self::pci_vendor(0x1014);

    /// Creates the type that belongs to the vendor with this PCI id.
    pub const fn pci_vendor(vendor: u16) -> Self {
        Self(Self::PCI_VENDOR_TYPE | define::widen(vendor))
    }

    /// Returns the PCI id of the vendor that the type belongs to. `None` if it belongs to none, or
    /// if there are other bits set in it.
    pub const fn vendor(self) -> Option<u16> {
        let vendor = define::low_half(self.0);
        if self.0 == Self::pci_vendor(vendor).0 {
            Some(vendor)
        } else {
            None
        }
    }
}

/// Subtype of a device specific region: `VFIO_REGION_SUBTYPE_*` (linux/vfio.h). Only together with
/// the [`RegionType`] it says what the region is.
#[repr(transparent)]
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    zerocopy::FromBytes,
    zerocopy::IntoBytes,
    zerocopy::Immutable,
    zerocopy::KnownLayout,
)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RegionSubtype(
    /// The number that the kernel uses.
    pub u32,
);

impl RegionSubtype {
    /// Of [`RegionType::INTEL`]: the OpRegion.
    pub const INTEL_IGD_OPREGION: Self = Self(1);
    /// Of [`RegionType::INTEL`]: config space of the host bridge.
    pub const INTEL_IGD_HOST_CFG: Self = Self(2);
    /// Of [`RegionType::INTEL`]: config space of the LPC bridge.
    pub const INTEL_IGD_LPC_CFG: Self = Self(3);
    /// Of [`RegionType::NVIDIA`]: memory of the GPU.
    pub const NVIDIA_NVLINK2_RAM: Self = Self(1);
    /// Of [`RegionType::IBM`]: address translation shootdown registers.
    pub const IBM_NVLINK2_ATSD: Self = Self(1);
    /// Of [`RegionType::GFX`]: [`RegionGfxEdid`].
    pub const GFX_EDID: Self = Self(1);
    /// Of [`RegionType::CCW`]: asynchronous commands.
    pub const CCW_ASYNC_CMD: Self = Self(1);
    /// Of [`RegionType::CCW`]: the subchannel information block.
    pub const CCW_SCHIB: Self = Self(2);
    /// Of [`RegionType::CCW`]: channel report words.
    pub const CCW_CRW: Self = Self(3);
    /// Of [`RegionType::MIGRATION_DEPRECATED`]: [`DeviceMigrationInfo`].
    pub const MIGRATION_DEPRECATED: Self = Self(1);
}

ids! {
    /// `VFIO_DEVICE_GFX_LINK_STATE_*` (linux/vfio.h).
    pub struct GfxLinkState: u32 {
        /// A monitor is plugged in.
        UP = 1;
        /// No monitor is plugged in.
        DOWN = 2;
    }
}

layout! {
    /// `struct vfio_region_gfx_edid` (linux/vfio.h): head of a region of type [`RegionType::GFX`] and
    /// subtype [`RegionSubtype::GFX_EDID`].
    pub struct RegionGfxEdid(24) {
        /// Where the EDID starts, in bytes from the start of the region.
        pub edid_offset: u32 => 0,
        /// Greatest size of the EDID in bytes.
        pub edid_max_size: u32 => 4,
        /// Size of the EDID in bytes; written by the user.
        pub edid_size: u32 => 8,
        /// Greatest width in pixels, 0 if not limited.
        pub max_xres: u32 => 12,
        /// Greatest height in pixels, 0 if not limited.
        pub max_yres: u32 => 16,
        /// A [`GfxLinkState`]; written by the user.
        pub link_state: u32 => 20,
    }
}

flags! {
    /// `VFIO_DEVICE_STATE_V1_*` (linux/vfio.h): state of a device in the first migration protocol.
    /// None set is `VFIO_DEVICE_STATE_V1_STOP`.
    pub struct DeviceStateV1: u32 {
        /// The device runs.
        RUNNING = 1 << 0;
        /// Its state is being saved.
        SAVING = 1 << 1;
        /// Its state is being restored.
        RESUMING = 1 << 2;
    }
}

impl DeviceStateV1 {
    /// `VFIO_DEVICE_STATE_V1_STOP`: the device is stopped.
    pub const STOP: Self = Self(0);
    /// `VFIO_DEVICE_STATE_MASK`: all bits that give the state.
    pub const MASK: Self = Self(7);
}

layout! {
    /// `struct vfio_device_migration_info` (linux/vfio.h): head of a region of type
    /// [`RegionType::MIGRATION_DEPRECATED`].
    pub struct DeviceMigrationInfo(32) {
        /// State of the device.
        pub device_state: DeviceStateV1 => 0,
        /// Zero.
        pub reserved: u32 => 4,
        /// Bytes still to be saved.
        pub pending_bytes: u64 => 8,
        /// Where the data starts, in bytes from the start of the region.
        pub data_offset: u64 => 16,
        /// Size of the data in bytes.
        pub data_size: u64 => 24,
    }
}
