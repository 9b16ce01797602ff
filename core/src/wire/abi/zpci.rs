//! Capabilities of a PCI function on s390 (linux/vfio_zdev.h).

use super::InfoCapHeader;

layout! {
    /// `struct vfio_device_info_cap_zpci_base` (linux/vfio_zdev.h), versions 1 to 3: about the
    /// function. Version 1 ends before `fh`, version 2 before `ccdf_err_length`.
    pub struct DeviceInfoCapZpciBase(40) {
        /// Head; `id` is [`DeviceCapId::ZPCI_BASE`](super::DeviceCapId::ZPCI_BASE).
        pub header: InfoCapHeader => 0,
        /// First DMA address.
        pub start_dma: u64 => 8,
        /// Last DMA address.
        pub end_dma: u64 => 16,
        /// Physical channel id.
        pub pchid: u16 => 24,
        /// Number of the virtual function.
        pub vfn: u16 => 26,
        /// Length of the measurement block in bytes.
        pub fmb_length: u16 => 28,
        /// Type of the function.
        pub pft: u8 => 30,
        /// Id of the function's group.
        pub gid: u8 => 31,
        /// Function handle. From version 2 on.
        pub fh: u32 => 32,
        /// Length in bytes of the error information that
        /// [`FeatureId::ZPCI_ERROR`](super::FeatureId::ZPCI_ERROR) writes. From version 3 on.
        pub ccdf_err_length: u32 => 36,
    }
}

flags! {
    /// `VFIO_DEVICE_INFO_ZPCI_FLAG_*` (linux/vfio_zdev.h).
    pub struct ZpciGroupFlags: u64 {
        /// The program refreshes the TLB.
        REFRESH = 1 << 0;
    }
}

layout! {
    /// `struct vfio_device_info_cap_zpci_group` (linux/vfio_zdev.h), versions 1 and 2: about the
    /// function's group. Version 1 ends before `reserved`.
    pub struct DeviceInfoCapZpciGroup(if cfg!(target_arch = "x86") { 44 } else { 48 }) {
        /// Head; `id` is [`DeviceCapId::ZPCI_GROUP`](super::DeviceCapId::ZPCI_GROUP).
        pub header: InfoCapHeader => 0,
        /// Mask of the DMA address space.
        pub dasm: u64 => 8,
        /// Address for MSIs.
        pub msi_addr: u64 => 16,
        /// What the group can.
        pub flags: ZpciGroupFlags => 24,
        /// Interval between updates of the measurement block.
        pub mui: u16 => 32,
        /// Greatest number of MSIs.
        pub noi: u16 => 34,
        /// Greatest length of a store block in bytes.
        pub maxstbl: u16 => 36,
        /// Version of PCI.
        pub version: u8 => 38,
        /// Zero.
        pub reserved: u8 => 39,
        /// Greatest length of an interpreted store block in bytes. From version 2 on.
        pub imaxstbl: u16 => 40,
        /// Padding up to the struct's alignment.
        pub pad: [u8; if cfg!(target_arch = "x86") { 2 } else { 6 }] => 42,
    }
}

layout! {
    /// `struct vfio_device_info_cap_zpci_util` (linux/vfio_zdev.h), version 1: the utility string,
    /// `size` bytes of EBCDIC that follow.
    pub struct DeviceInfoCapZpciUtil(12) {
        /// Head; `id` is [`DeviceCapId::ZPCI_UTIL`](super::DeviceCapId::ZPCI_UTIL).
        pub header: InfoCapHeader => 0,
        /// Length of the string in bytes.
        pub size: u32 => 8,
    }
}

layout! {
    /// `struct vfio_device_info_cap_zpci_pfip` (linux/vfio_zdev.h), version 1: the internal path of
    /// the function, `size` bytes that follow.
    pub struct DeviceInfoCapZpciPfip(12) {
        /// Head; `id` is [`DeviceCapId::ZPCI_PFIP`](super::DeviceCapId::ZPCI_PFIP).
        pub header: InfoCapHeader => 0,
        /// Length of the path in bytes.
        pub size: u32 => 8,
    }
}
