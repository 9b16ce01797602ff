//! Regions of a device and their capabilities.

use super::InfoCapHeader;

/// Region indexes of a PCI device (linux/vfio.h). From [`NUM`](pci_region::NUM) on an index is
/// specific to the device: only its [`RegionInfoCapType`] says what it is.
pub mod pci_region {
    /// `VFIO_PCI_BAR0_REGION_INDEX`.
    pub const BAR0: u32 = 0;
    /// `VFIO_PCI_BAR1_REGION_INDEX`.
    pub const BAR1: u32 = 1;
    /// `VFIO_PCI_BAR2_REGION_INDEX`.
    pub const BAR2: u32 = 2;
    /// `VFIO_PCI_BAR3_REGION_INDEX`.
    pub const BAR3: u32 = 3;
    /// `VFIO_PCI_BAR4_REGION_INDEX`.
    pub const BAR4: u32 = 4;
    /// `VFIO_PCI_BAR5_REGION_INDEX`.
    pub const BAR5: u32 = 5;
    /// `VFIO_PCI_ROM_REGION_INDEX`: the expansion ROM.
    pub const ROM: u32 = 6;
    /// `VFIO_PCI_CONFIG_REGION_INDEX`: config space.
    pub const CONFIG: u32 = 7;
    /// `VFIO_PCI_VGA_REGION_INDEX`: the legacy VGA ranges.
    pub const VGA: u32 = 8;
    /// `VFIO_PCI_NUM_REGIONS`: how many indexes every PCI device has.
    pub const NUM: u32 = 9;
}

flags! {
    /// `VFIO_REGION_INFO_FLAG_*` (linux/vfio.h).
    pub struct RegionFlags: u32 {
        /// Can be read.
        READ = 1 << 0;
        /// Can be written.
        WRITE = 1 << 1;
        /// Can be mapped, wholly or in the areas of [`RegionCapId::SPARSE_MMAP`].
        MMAP = 1 << 2;
        /// `cap_offset` is valid: capabilities follow, or would in a larger buffer.
        CAPS = 1 << 3;
    }
}

layout! {
    /// `struct vfio_region_info` (linux/vfio.h): question and answer of
    /// `VFIO_DEVICE_GET_REGION_INFO`; capabilities ([`RegionCapId`]) may follow.
    pub struct RegionInfo(32) {
        /// Size of the buffer in bytes; the kernel sets the size that it needs, if larger.
        pub argsz: u32 => 0,
        /// Ways to access the region.
        pub flags: RegionFlags => 4,
        /// Question: index of the region.
        pub index: u32 => 8,
        /// Offset in bytes of the first capability. Without [`RegionFlags::CAPS`] it is what the
        /// caller left there.
        pub cap_offset: u32 => 12,
        /// Size of the region in bytes.
        pub size: u64 => 16,
        /// Where the region starts in the device's file descriptor, in bytes; opaque.
        pub offset: u64 => 24,
    }
}

ids! {
    /// Capabilities of a region: `VFIO_REGION_INFO_CAP_*` (linux/vfio.h).
    pub struct RegionCapId: u16 {
        /// [`RegionInfoCapSparseMmap`]. Since Linux 4.6.
        SPARSE_MMAP = 1;
        /// [`RegionInfoCapType`]. Since Linux 4.6.
        TYPE = 2;
        /// The part with the MSI-X table may be mapped, too; a head alone. Since Linux 4.16.
        MSIX_MAPPABLE = 3;
        /// [`RegionInfoCapNvlink2Ssatgt`]. Since Linux 5.0, no longer provided.
        NVLINK2_SSATGT = 4;
        /// [`RegionInfoCapNvlink2Lnkspd`]. Since Linux 5.0, no longer provided.
        NVLINK2_LNKSPD = 5;
    }
}

layout! {
    /// `struct vfio_region_sparse_mmap_area` (linux/vfio.h): a part of a region that may be mapped.
    pub struct RegionSparseMmapArea(16) {
        /// Start in bytes from the start of the region.
        pub offset: u64 => 0,
        /// Size in bytes; may be 0.
        pub size: u64 => 8,
    }
}

layout! {
    /// `struct vfio_region_info_cap_sparse_mmap` (linux/vfio.h), version 1: only parts of the region
    /// may be mapped. `nr_areas` of [`RegionSparseMmapArea`] follow.
    pub struct RegionInfoCapSparseMmap(16) {
        /// Head; `id` is [`RegionCapId::SPARSE_MMAP`].
        pub header: InfoCapHeader => 0,
        /// Number of areas that follow.
        pub nr_areas: u32 => 8,
        /// Zero.
        pub reserved: u32 => 12,
    }
}

layout! {
    /// `struct vfio_region_info_cap_type` (linux/vfio.h), version 1: what a device specific region is.
    pub struct RegionInfoCapType(16) {
        /// Head; `id` is [`RegionCapId::TYPE`].
        pub header: InfoCapHeader => 0,
        /// The type, a [`RegionType`](super::RegionType).
        pub type_: u32 => 8,
        /// The subtype, a [`RegionSubtype`](super::RegionSubtype) within the type.
        pub subtype: u32 => 12,
    }
}

layout! {
    /// `struct vfio_region_info_cap_nvlink2_ssatgt` (linux/vfio.h), version 1: the address under
    /// which the NVLink2 bridge reaches the memory.
    pub struct RegionInfoCapNvlink2Ssatgt(16) {
        /// Head; `id` is [`RegionCapId::NVLINK2_SSATGT`].
        pub header: InfoCapHeader => 0,
        /// The short system address.
        pub tgt: u64 => 8,
    }
}

layout! {
    /// `struct vfio_region_info_cap_nvlink2_lnkspd` (linux/vfio.h), version 1: speed of an NVLink2
    /// link.
    pub struct RegionInfoCapNvlink2Lnkspd(16) {
        /// Head; `id` is [`RegionCapId::NVLINK2_LNKSPD`].
        pub header: InfoCapHeader => 0,
        /// The speed, in the device's own encoding.
        pub link_speed: u32 => 8,
        /// Padding.
        pub pad: u32 => 12,
    }
}
