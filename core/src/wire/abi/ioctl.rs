//! Request numbers for `ioctl`, by the kind of file descriptor that they are for.
//!
//! VFIO uses a number again for another kind of file descriptor: 0x3b70 gets the IOMMU's information
//! from a container and the hot reset information from a device.

/// `VFIO_API_VERSION` (linux/vfio.h): what [`container::GET_API_VERSION`] must answer.
pub const API_VERSION: u32 = 0;

/// `VFIO_TYPE`, and iommufd's: the character ';'.
const TYPE: u16 = 0x3b;

/// Makes `_IO(';', nr)`: no size, no direction. The direction "none" is 0 on most architectures and
/// 1, in bit 29, on a few old ones.
const fn io(nr: u32) -> u32 {
    const NO_DIRECTION: u32 = if cfg!(any(
        target_arch = "mips",
        target_arch = "mips32r6",
        target_arch = "mips64",
        target_arch = "mips64r6",
        target_arch = "powerpc",
        target_arch = "powerpc64",
        target_arch = "sparc",
        target_arch = "sparc64",
    )) {
        0x2000_0000
    } else {
        0
    };
    NO_DIRECTION | super::define::widen(TYPE) << 8 | nr
}

/// Makes `_IO(VFIO_TYPE, VFIO_BASE + nr)`.
const fn vfio(nr: u32) -> u32 {
    io(nr.saturating_add(100))
}

/// Requests on a container, `/dev/vfio/vfio` (linux/vfio.h).
pub mod container {
    use super::vfio;

    /// `VFIO_GET_API_VERSION`: no argument; returns [`API_VERSION`](super::API_VERSION).
    pub const GET_API_VERSION: u32 = vfio(0);
    /// `VFIO_CHECK_EXTENSION`: an [`Extension`](crate::wire::abi::Extension) by value; returns 0 if the
    /// kernel lacks it.
    pub const CHECK_EXTENSION: u32 = vfio(1);
    /// `VFIO_SET_IOMMU`: an [`Extension`](crate::wire::abi::Extension) that is an IOMMU, by value.
    pub const SET_IOMMU: u32 = vfio(2);
    /// `VFIO_IOMMU_GET_INFO`: [`IommuType1Info`](crate::wire::abi::IommuType1Info).
    pub const IOMMU_GET_INFO: u32 = vfio(12);
    /// `VFIO_IOMMU_MAP_DMA`: [`IommuType1DmaMap`](crate::wire::abi::IommuType1DmaMap).
    pub const IOMMU_MAP_DMA: u32 = vfio(13);
    /// `VFIO_IOMMU_UNMAP_DMA`: [`IommuType1DmaUnmap`](crate::wire::abi::IommuType1DmaUnmap).
    pub const IOMMU_UNMAP_DMA: u32 = vfio(14);
    /// `VFIO_IOMMU_ENABLE`: no argument; not for type1.
    pub const IOMMU_ENABLE: u32 = vfio(15);
    /// `VFIO_IOMMU_DISABLE`: no argument; not for type1.
    pub const IOMMU_DISABLE: u32 = vfio(16);
    /// `VFIO_IOMMU_DIRTY_PAGES`: [`IommuType1DirtyBitmap`](crate::wire::abi::IommuType1DirtyBitmap). Since
    /// Linux 5.8.
    pub const IOMMU_DIRTY_PAGES: u32 = vfio(17);
}

/// Requests on a group, `/dev/vfio/$GROUP` (linux/vfio.h).
pub mod group {
    use super::vfio;

    /// `VFIO_GROUP_GET_STATUS`: [`GroupStatus`](crate::wire::abi::GroupStatus).
    pub const GET_STATUS: u32 = vfio(3);
    /// `VFIO_GROUP_SET_CONTAINER`: pointer to the container's (or iommufd's) descriptor, an `i32`.
    pub const SET_CONTAINER: u32 = vfio(4);
    /// `VFIO_GROUP_UNSET_CONTAINER`: no argument.
    pub const UNSET_CONTAINER: u32 = vfio(5);
    /// `VFIO_GROUP_GET_DEVICE_FD`: the device's name as a C string; returns a file descriptor.
    pub const GET_DEVICE_FD: u32 = vfio(6);
}

/// Requests on a device, from a group or `/dev/vfio/devices/vfio$N` (linux/vfio.h).
pub mod device {
    use super::vfio;

    /// `VFIO_DEVICE_GET_INFO`: [`DeviceInfo`](crate::wire::abi::DeviceInfo).
    pub const GET_INFO: u32 = vfio(7);
    /// `VFIO_DEVICE_GET_REGION_INFO`: [`RegionInfo`](crate::wire::abi::RegionInfo).
    pub const GET_REGION_INFO: u32 = vfio(8);
    /// `VFIO_DEVICE_GET_IRQ_INFO`: [`IrqInfo`](crate::wire::abi::IrqInfo).
    pub const GET_IRQ_INFO: u32 = vfio(9);
    /// `VFIO_DEVICE_SET_IRQS`: [`IrqSet`](crate::wire::abi::IrqSet).
    pub const SET_IRQS: u32 = vfio(10);
    /// `VFIO_DEVICE_RESET`: no argument.
    pub const RESET: u32 = vfio(11);
    /// `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO`: [`PciHotResetInfo`](crate::wire::abi::PciHotResetInfo).
    pub const GET_PCI_HOT_RESET_INFO: u32 = vfio(12);
    /// `VFIO_DEVICE_PCI_HOT_RESET`: [`PciHotReset`](crate::wire::abi::PciHotReset).
    pub const PCI_HOT_RESET: u32 = vfio(13);
    /// `VFIO_DEVICE_QUERY_GFX_PLANE`: [`DeviceGfxPlaneInfo`](crate::wire::abi::DeviceGfxPlaneInfo). Since
    /// Linux 4.16.
    pub const QUERY_GFX_PLANE: u32 = vfio(14);
    /// `VFIO_DEVICE_GET_GFX_DMABUF`: pointer to a dma-buf id, a `u32`; returns a file descriptor.
    /// Since Linux 4.16.
    pub const GET_GFX_DMABUF: u32 = vfio(15);
    /// `VFIO_DEVICE_IOEVENTFD`: [`DeviceIoeventfd`](crate::wire::abi::DeviceIoeventfd). Since Linux 4.17.
    pub const IOEVENTFD: u32 = vfio(16);
    /// `VFIO_DEVICE_FEATURE`: [`DeviceFeature`](crate::wire::abi::DeviceFeature). Since Linux 5.7.
    pub const FEATURE: u32 = vfio(17);
    /// `VFIO_DEVICE_BIND_IOMMUFD`: [`DeviceBindIommufd`](crate::wire::abi::DeviceBindIommufd). Since Linux
    /// 6.6.
    pub const BIND_IOMMUFD: u32 = vfio(18);
    /// `VFIO_DEVICE_ATTACH_IOMMUFD_PT`:
    /// [`DeviceAttachIommufdPt`](crate::wire::abi::DeviceAttachIommufdPt). Since Linux 6.6.
    pub const ATTACH_IOMMUFD_PT: u32 = vfio(19);
    /// `VFIO_DEVICE_DETACH_IOMMUFD_PT`:
    /// [`DeviceDetachIommufdPt`](crate::wire::abi::DeviceDetachIommufdPt). Since Linux 6.6.
    pub const DETACH_IOMMUFD_PT: u32 = vfio(20);
}

/// Requests on the data descriptor of a migration (linux/vfio.h).
pub mod migration {
    use super::vfio;

    /// `VFIO_MIG_GET_PRECOPY_INFO`: [`PrecopyInfo`](crate::wire::abi::PrecopyInfo). Since Linux 6.2.
    pub const GET_PRECOPY_INFO: u32 = vfio(21);
}

/// Requests on `/dev/iommu` (linux/iommufd.h).
pub mod iommufd {
    use super::io;

    /// `IOMMU_DESTROY`: [`IommuDestroy`](crate::wire::abi::IommuDestroy).
    pub const DESTROY: u32 = io(0x80);
    /// `IOMMU_IOAS_ALLOC`: [`IommuIoasAlloc`](crate::wire::abi::IommuIoasAlloc).
    pub const IOAS_ALLOC: u32 = io(0x81);
    /// `IOMMU_IOAS_ALLOW_IOVAS`: [`IommuIoasAllowIovas`](crate::wire::abi::IommuIoasAllowIovas).
    pub const IOAS_ALLOW_IOVAS: u32 = io(0x82);
    /// `IOMMU_IOAS_COPY`: [`IommuIoasCopy`](crate::wire::abi::IommuIoasCopy).
    pub const IOAS_COPY: u32 = io(0x83);
    /// `IOMMU_IOAS_IOVA_RANGES`: [`IommuIoasIovaRanges`](crate::wire::abi::IommuIoasIovaRanges).
    pub const IOAS_IOVA_RANGES: u32 = io(0x84);
    /// `IOMMU_IOAS_MAP`: [`IommuIoasMap`](crate::wire::abi::IommuIoasMap).
    pub const IOAS_MAP: u32 = io(0x85);
    /// `IOMMU_IOAS_UNMAP`: [`IommuIoasUnmap`](crate::wire::abi::IommuIoasUnmap).
    pub const IOAS_UNMAP: u32 = io(0x86);
    /// `IOMMU_OPTION`: [`IommuOption`](crate::wire::abi::IommuOption).
    pub const OPTION: u32 = io(0x87);
    /// `IOMMU_VFIO_IOAS`: [`IommuVfioIoas`](crate::wire::abi::IommuVfioIoas).
    pub const VFIO_IOAS: u32 = io(0x88);
    /// `IOMMU_IOAS_MAP_FILE`: [`IommuIoasMapFile`](crate::wire::abi::IommuIoasMapFile).
    pub const IOAS_MAP_FILE: u32 = io(0x8f);
    /// `IOMMU_IOAS_NOIOMMU_GET_PA`:
    /// [`IommuIoasNoiommuGetPa`](crate::wire::abi::IommuIoasNoiommuGetPa). Since Linux 7.3.
    pub const IOAS_NOIOMMU_GET_PA: u32 = io(0x95);
}
