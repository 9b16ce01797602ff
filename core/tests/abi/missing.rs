//! What the bindings lack, spelled as in the headers of Linux 7.3: what is newer than they are, and
//! all of linux/vfio_zdev.h, which `vfio-bindings` was not made from. Here the padding is the
//! compiler's.

use vfio_bindings::bindings::vfio::vfio_info_cap_header;

pub(crate) const VFIO_DEVICE_FEATURE_ZPCI_ERROR: u32 = 13;
pub(crate) const IOMMUFD_CMD_IOAS_NOIOMMU_GET_PA: u32 = 0x95;
pub(crate) const VFIO_DEVICE_INFO_ZPCI_FLAG_REFRESH: u32 = 1;

#[repr(C)]
pub(crate) struct vfio_device_feature_zpci_err {
    pub data: u64,
}

#[repr(C)]
pub(crate) struct vfio_device_info_cap_zpci_base {
    pub header: vfio_info_cap_header,
    pub start_dma: u64,
    pub end_dma: u64,
    pub pchid: u16,
    pub vfn: u16,
    pub fmb_length: u16,
    pub pft: u8,
    pub gid: u8,
    pub fh: u32,
    pub ccdf_err_length: u32,
}

#[repr(C)]
pub(crate) struct vfio_device_info_cap_zpci_group {
    pub header: vfio_info_cap_header,
    pub dasm: u64,
    pub msi_addr: u64,
    pub flags: u64,
    pub mui: u16,
    pub noi: u16,
    pub maxstbl: u16,
    pub version: u8,
    pub reserved: u8,
    pub imaxstbl: u16,
}

#[repr(C)]
pub(crate) struct vfio_device_info_cap_zpci_util {
    pub header: vfio_info_cap_header,
    pub size: u32,
    pub util_str: [u8; 0],
}

#[repr(C)]
pub(crate) struct vfio_device_info_cap_zpci_pfip {
    pub header: vfio_info_cap_header,
    pub size: u32,
    pub pfip: [u8; 0],
}

#[repr(C)]
pub(crate) struct iommu_ioas_noiommu_get_pa {
    pub size: u32,
    pub flags: u32,
    pub ioas_id: u32,
    pub __reserved: u32,
    pub iova: u64,
    pub length: u64,
    pub out_phys: u64,
}
