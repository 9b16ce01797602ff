//! Flags, ids, indexes and request numbers.

use bitflags::Flags;
use iommufd_bindings::iommufd::*;
use vfio_bindings::bindings::vfio::*;
use vfio_core::wire::abi::*;

use crate::missing::*;

/// Compares each flag of a type, and that no flag of the type is left out.
macro_rules! same_flags {
    ($ours:ident { $($flag:ident = $theirs:expr),+ $(,)? }) => {{
        $(assert_eq!($ours::$flag.bits(), $theirs.into(), stringify!($ours::$flag));)+
        let named: Vec<_> = $ours::FLAGS.iter().map(|flag| flag.name()).collect();
        // The last one, without a name, stands for all other bits.
        assert_eq!(named, [$(stringify!($flag),)+ ""], stringify!($ours));
    }};
}

/// Compares each id of a type, and that no id of the type is left out.
macro_rules! same_ids {
    ($ours:ident { $($id:ident = $theirs:expr),+ $(,)? }) => {{
        $(assert_eq!(u32::from($ours::$id.0), $theirs, stringify!($ours::$id));)+
        let named: Vec<_> = (0..=u16::MAX).filter_map(|n| $ours(n.into()).name()).collect();
        assert_eq!(named, [$(stringify!($id)),+], stringify!($ours));
    }};
}

/// Compares single numbers.
macro_rules! same_numbers {
    ($($ours:expr => $theirs:expr,)+) => {
        $(assert_eq!($ours, $theirs, stringify!($theirs));)+
    };
}

#[test]
fn flags_are_the_kernels() {
    same_flags!(GroupFlags {
        VIABLE = VFIO_GROUP_FLAGS_VIABLE,
        CONTAINER_SET = VFIO_GROUP_FLAGS_CONTAINER_SET,
    });
    same_flags!(DeviceFlags {
        RESET = VFIO_DEVICE_FLAGS_RESET,
        PCI = VFIO_DEVICE_FLAGS_PCI,
        PLATFORM = VFIO_DEVICE_FLAGS_PLATFORM,
        AMBA = VFIO_DEVICE_FLAGS_AMBA,
        CCW = VFIO_DEVICE_FLAGS_CCW,
        AP = VFIO_DEVICE_FLAGS_AP,
        FSL_MC = VFIO_DEVICE_FLAGS_FSL_MC,
        CAPS = VFIO_DEVICE_FLAGS_CAPS,
        CDX = VFIO_DEVICE_FLAGS_CDX,
    });
    same_flags!(AtomicCompFlags {
        COMP32 = VFIO_PCI_ATOMIC_COMP32,
        COMP64 = VFIO_PCI_ATOMIC_COMP64,
        COMP128 = VFIO_PCI_ATOMIC_COMP128,
    });
    same_flags!(ZpciGroupFlags { REFRESH = VFIO_DEVICE_INFO_ZPCI_FLAG_REFRESH });
    same_flags!(IoeventfdFlags {
        SIZE_8 = VFIO_DEVICE_IOEVENTFD_8,
        SIZE_16 = VFIO_DEVICE_IOEVENTFD_16,
        SIZE_32 = VFIO_DEVICE_IOEVENTFD_32,
        SIZE_64 = VFIO_DEVICE_IOEVENTFD_64,
    });
    same_flags!(BindFlags { TOKEN = VFIO_DEVICE_BIND_FLAG_TOKEN });
    same_flags!(AttachFlags { PASID = VFIO_DEVICE_ATTACH_PASID });
    same_flags!(AttachFlags { PASID = VFIO_DEVICE_DETACH_PASID });
    same_flags!(GfxPlaneFlags {
        PROBE = VFIO_GFX_PLANE_TYPE_PROBE,
        DMABUF = VFIO_GFX_PLANE_TYPE_DMABUF,
        REGION = VFIO_GFX_PLANE_TYPE_REGION,
    });
    same_flags!(RegionFlags {
        READ = VFIO_REGION_INFO_FLAG_READ,
        WRITE = VFIO_REGION_INFO_FLAG_WRITE,
        MMAP = VFIO_REGION_INFO_FLAG_MMAP,
        CAPS = VFIO_REGION_INFO_FLAG_CAPS,
    });
    same_flags!(DeviceStateV1 {
        RUNNING = VFIO_DEVICE_STATE_V1_RUNNING,
        SAVING = VFIO_DEVICE_STATE_V1_SAVING,
        RESUMING = VFIO_DEVICE_STATE_V1_RESUMING,
    });
    same_flags!(IrqFlags {
        EVENTFD = VFIO_IRQ_INFO_EVENTFD,
        MASKABLE = VFIO_IRQ_INFO_MASKABLE,
        AUTOMASKED = VFIO_IRQ_INFO_AUTOMASKED,
        NORESIZE = VFIO_IRQ_INFO_NORESIZE,
    });
    same_flags!(IrqSetFlags {
        DATA_NONE = VFIO_IRQ_SET_DATA_NONE,
        DATA_BOOL = VFIO_IRQ_SET_DATA_BOOL,
        DATA_EVENTFD = VFIO_IRQ_SET_DATA_EVENTFD,
        ACTION_MASK = VFIO_IRQ_SET_ACTION_MASK,
        ACTION_UNMASK = VFIO_IRQ_SET_ACTION_UNMASK,
        ACTION_TRIGGER = VFIO_IRQ_SET_ACTION_TRIGGER,
    });
    same_flags!(HotResetFlags {
        DEV_ID = VFIO_PCI_HOT_RESET_FLAG_DEV_ID,
        DEV_ID_OWNED = VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED,
    });
    same_flags!(FeatureFlags {
        GET = VFIO_DEVICE_FEATURE_GET,
        SET = VFIO_DEVICE_FEATURE_SET,
        PROBE = VFIO_DEVICE_FEATURE_PROBE,
    });
    same_flags!(MigrationFlags {
        STOP_COPY = VFIO_MIGRATION_STOP_COPY,
        P2P = VFIO_MIGRATION_P2P,
        PRE_COPY = VFIO_MIGRATION_PRE_COPY,
    });
    same_flags!(PrecopyInfoFlags { REINIT = VFIO_PRECOPY_INFO_REINIT });
    same_flags!(IommuInfoFlags {
        PGSIZES = VFIO_IOMMU_INFO_PGSIZES,
        CAPS = VFIO_IOMMU_INFO_CAPS,
    });
    same_flags!(DmaMapFlags {
        READ = VFIO_DMA_MAP_FLAG_READ,
        WRITE = VFIO_DMA_MAP_FLAG_WRITE,
        VADDR = VFIO_DMA_MAP_FLAG_VADDR,
    });
    same_flags!(DmaUnmapFlags {
        GET_DIRTY_BITMAP = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
        ALL = VFIO_DMA_UNMAP_FLAG_ALL,
        VADDR = VFIO_DMA_UNMAP_FLAG_VADDR,
    });
    same_flags!(DirtyPagesFlags {
        START = VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
        STOP = VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
        GET_BITMAP = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
    });
    same_flags!(IoasMapFlags {
        FIXED_IOVA = iommufd_ioas_map_flags_IOMMU_IOAS_MAP_FIXED_IOVA,
        WRITEABLE = iommufd_ioas_map_flags_IOMMU_IOAS_MAP_WRITEABLE,
        READABLE = iommufd_ioas_map_flags_IOMMU_IOAS_MAP_READABLE,
    });
}

#[test]
fn masks_are_the_kernels() {
    same_numbers! {
        IoeventfdFlags::SIZE_MASK.bits() => VFIO_DEVICE_IOEVENTFD_SIZE_MASK,
        DeviceStateV1::STOP.bits() => VFIO_DEVICE_STATE_V1_STOP,
        DeviceStateV1::MASK.bits() => VFIO_DEVICE_STATE_MASK,
        IrqSetFlags::DATA_TYPE_MASK.bits() => VFIO_IRQ_SET_DATA_TYPE_MASK,
        IrqSetFlags::ACTION_TYPE_MASK.bits() => VFIO_IRQ_SET_ACTION_TYPE_MASK,
        FeatureFlags::MASK.bits() => VFIO_DEVICE_FEATURE_MASK,
        RegionType::PCI_VENDOR_TYPE => VFIO_REGION_TYPE_PCI_VENDOR_TYPE,
        RegionType::PCI_VENDOR_MASK => VFIO_REGION_TYPE_PCI_VENDOR_MASK,
    }
}

#[test]
fn ids_are_the_kernels() {
    same_ids!(Extension {
        TYPE1_IOMMU = VFIO_TYPE1_IOMMU,
        TYPE1V2_IOMMU = VFIO_TYPE1v2_IOMMU,
        DMA_CC_IOMMU = VFIO_DMA_CC_IOMMU,
        NOIOMMU_IOMMU = VFIO_NOIOMMU_IOMMU,
        UNMAP_ALL = VFIO_UNMAP_ALL,
        UPDATE_VADDR = VFIO_UPDATE_VADDR,
    });
    same_ids!(DeviceCapId {
        ZPCI_BASE = VFIO_DEVICE_INFO_CAP_ZPCI_BASE,
        ZPCI_GROUP = VFIO_DEVICE_INFO_CAP_ZPCI_GROUP,
        ZPCI_UTIL = VFIO_DEVICE_INFO_CAP_ZPCI_UTIL,
        ZPCI_PFIP = VFIO_DEVICE_INFO_CAP_ZPCI_PFIP,
        PCI_ATOMIC_COMP = VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP,
    });
    same_ids!(RegionCapId {
        SPARSE_MMAP = VFIO_REGION_INFO_CAP_SPARSE_MMAP,
        TYPE = VFIO_REGION_INFO_CAP_TYPE,
        MSIX_MAPPABLE = VFIO_REGION_INFO_CAP_MSIX_MAPPABLE,
        NVLINK2_SSATGT = VFIO_REGION_INFO_CAP_NVLINK2_SSATGT,
        NVLINK2_LNKSPD = VFIO_REGION_INFO_CAP_NVLINK2_LNKSPD,
    });
    same_ids!(IommuCapId {
        IOVA_RANGE = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
        MIGRATION = VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
        DMA_AVAIL = VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
    });
    same_ids!(RegionType {
        GFX = VFIO_REGION_TYPE_GFX,
        CCW = VFIO_REGION_TYPE_CCW,
        MIGRATION_DEPRECATED = VFIO_REGION_TYPE_MIGRATION_DEPRECATED,
    });
    same_ids!(GfxLinkState {
        UP = VFIO_DEVICE_GFX_LINK_STATE_UP,
        DOWN = VFIO_DEVICE_GFX_LINK_STATE_DOWN,
    });
    same_ids!(FeatureId {
        PCI_VF_TOKEN = VFIO_DEVICE_FEATURE_PCI_VF_TOKEN,
        MIGRATION = VFIO_DEVICE_FEATURE_MIGRATION,
        MIG_DEVICE_STATE = VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
        LOW_POWER_ENTRY = VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
        LOW_POWER_ENTRY_WITH_WAKEUP = VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
        LOW_POWER_EXIT = VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
        DMA_LOGGING_START = VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
        DMA_LOGGING_STOP = VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
        DMA_LOGGING_REPORT = VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
        MIG_DATA_SIZE = VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
        BUS_MASTER = VFIO_DEVICE_FEATURE_BUS_MASTER,
        DMA_BUF = VFIO_DEVICE_FEATURE_DMA_BUF,
        MIG_PRECOPY_INFO_V2 = VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
        ZPCI_ERROR = VFIO_DEVICE_FEATURE_ZPCI_ERROR,
    });
    same_ids!(BusMasterOp {
        CLEAR_MASTER = VFIO_DEVICE_FEATURE_CLEAR_MASTER,
        SET_MASTER = VFIO_DEVICE_FEATURE_SET_MASTER,
    });
    same_ids!(MigState {
        ERROR = vfio_device_mig_state_VFIO_DEVICE_STATE_ERROR,
        STOP = vfio_device_mig_state_VFIO_DEVICE_STATE_STOP,
        RUNNING = vfio_device_mig_state_VFIO_DEVICE_STATE_RUNNING,
        STOP_COPY = vfio_device_mig_state_VFIO_DEVICE_STATE_STOP_COPY,
        RESUMING = vfio_device_mig_state_VFIO_DEVICE_STATE_RESUMING,
        RUNNING_P2P = vfio_device_mig_state_VFIO_DEVICE_STATE_RUNNING_P2P,
        PRE_COPY = vfio_device_mig_state_VFIO_DEVICE_STATE_PRE_COPY,
        PRE_COPY_P2P = vfio_device_mig_state_VFIO_DEVICE_STATE_PRE_COPY_P2P,
    });
    same_ids!(IommuOptionId {
        RLIMIT_MODE = iommufd_option_IOMMU_OPTION_RLIMIT_MODE,
        HUGE_PAGES = iommufd_option_IOMMU_OPTION_HUGE_PAGES,
    });
    same_ids!(IommuOptionOp {
        SET = iommufd_option_ops_IOMMU_OPTION_OP_SET,
        GET = iommufd_option_ops_IOMMU_OPTION_OP_GET,
    });
    same_ids!(IommuVfioIoasOp {
        GET = iommufd_vfio_ioas_op_IOMMU_VFIO_IOAS_GET,
        SET = iommufd_vfio_ioas_op_IOMMU_VFIO_IOAS_SET,
        CLEAR = iommufd_vfio_ioas_op_IOMMU_VFIO_IOAS_CLEAR,
    });
    same_numbers! {
        MigState::NR => vfio_device_mig_state_VFIO_DEVICE_STATE_NR,
        PciDependentDevice::DEVID_OWNED => VFIO_PCI_DEVID_OWNED,
        PciDependentDevice::DEVID_NOT_OWNED => VFIO_PCI_DEVID_NOT_OWNED as u32,
        RegionSubtype::INTEL_IGD_OPREGION.0 => VFIO_REGION_SUBTYPE_INTEL_IGD_OPREGION,
        RegionSubtype::INTEL_IGD_HOST_CFG.0 => VFIO_REGION_SUBTYPE_INTEL_IGD_HOST_CFG,
        RegionSubtype::INTEL_IGD_LPC_CFG.0 => VFIO_REGION_SUBTYPE_INTEL_IGD_LPC_CFG,
        RegionSubtype::NVIDIA_NVLINK2_RAM.0 => VFIO_REGION_SUBTYPE_NVIDIA_NVLINK2_RAM,
        RegionSubtype::IBM_NVLINK2_ATSD.0 => VFIO_REGION_SUBTYPE_IBM_NVLINK2_ATSD,
        RegionSubtype::GFX_EDID.0 => VFIO_REGION_SUBTYPE_GFX_EDID,
        RegionSubtype::CCW_ASYNC_CMD.0 => VFIO_REGION_SUBTYPE_CCW_ASYNC_CMD,
        RegionSubtype::CCW_SCHIB.0 => VFIO_REGION_SUBTYPE_CCW_SCHIB,
        RegionSubtype::CCW_CRW.0 => VFIO_REGION_SUBTYPE_CCW_CRW,
        RegionSubtype::MIGRATION_DEPRECATED.0 => VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED,
    }
}

#[test]
fn indexes_are_the_kernels() {
    same_numbers! {
        pci_region::BAR0 => VFIO_PCI_BAR0_REGION_INDEX,
        pci_region::BAR1 => VFIO_PCI_BAR1_REGION_INDEX,
        pci_region::BAR2 => VFIO_PCI_BAR2_REGION_INDEX,
        pci_region::BAR3 => VFIO_PCI_BAR3_REGION_INDEX,
        pci_region::BAR4 => VFIO_PCI_BAR4_REGION_INDEX,
        pci_region::BAR5 => VFIO_PCI_BAR5_REGION_INDEX,
        pci_region::ROM => VFIO_PCI_ROM_REGION_INDEX,
        pci_region::CONFIG => VFIO_PCI_CONFIG_REGION_INDEX,
        pci_region::VGA => VFIO_PCI_VGA_REGION_INDEX,
        pci_region::NUM => VFIO_PCI_NUM_REGIONS,
        pci_irq::INTX => VFIO_PCI_INTX_IRQ_INDEX,
        pci_irq::MSI => VFIO_PCI_MSI_IRQ_INDEX,
        pci_irq::MSIX => VFIO_PCI_MSIX_IRQ_INDEX,
        pci_irq::ERR => VFIO_PCI_ERR_IRQ_INDEX,
        pci_irq::REQ => VFIO_PCI_REQ_IRQ_INDEX,
        pci_irq::NUM => VFIO_PCI_NUM_IRQS,
        ccw_region::CONFIG => VFIO_CCW_CONFIG_REGION_INDEX,
        ccw_region::NUM => VFIO_CCW_NUM_REGIONS,
        ccw_irq::IO => VFIO_CCW_IO_IRQ_INDEX,
        ccw_irq::CRW => VFIO_CCW_CRW_IRQ_INDEX,
        ccw_irq::REQ => VFIO_CCW_REQ_IRQ_INDEX,
        ccw_irq::NUM => VFIO_CCW_NUM_IRQS,
        ap_irq::REQ => VFIO_AP_REQ_IRQ_INDEX,
        ap_irq::CFG_CHG => VFIO_AP_CFG_CHG_IRQ_INDEX,
        ap_irq::NUM => VFIO_AP_NUM_IRQS,
    }
}

#[test]
fn device_api_strings_are_the_kernels() {
    for (ours, theirs) in [
        (device_api::PCI, &VFIO_DEVICE_API_PCI_STRING[..]),
        (device_api::PLATFORM, &VFIO_DEVICE_API_PLATFORM_STRING[..]),
        (device_api::AMBA, &VFIO_DEVICE_API_AMBA_STRING[..]),
        (device_api::CCW, &VFIO_DEVICE_API_CCW_STRING[..]),
        (device_api::AP, &VFIO_DEVICE_API_AP_STRING[..]),
    ] {
        assert_eq!(format!("{ours}\0").as_bytes(), theirs);
    }
}

/// Compares the request numbers with linux-raw-sys, which has them for each architecture but was made
/// from older headers.
#[test]
fn request_numbers_are_the_kernels() {
    use linux_raw_sys::ioctl::*;

    same_numbers! {
        ioctl::API_VERSION => VFIO_API_VERSION,
        ioctl::container::GET_API_VERSION => VFIO_GET_API_VERSION,
        ioctl::container::CHECK_EXTENSION => VFIO_CHECK_EXTENSION,
        ioctl::container::SET_IOMMU => VFIO_SET_IOMMU,
        ioctl::container::IOMMU_GET_INFO => VFIO_IOMMU_GET_INFO,
        ioctl::container::IOMMU_MAP_DMA => VFIO_IOMMU_MAP_DMA,
        ioctl::container::IOMMU_UNMAP_DMA => VFIO_IOMMU_UNMAP_DMA,
        ioctl::container::IOMMU_ENABLE => VFIO_IOMMU_ENABLE,
        ioctl::container::IOMMU_DISABLE => VFIO_IOMMU_DISABLE,
        ioctl::container::IOMMU_DIRTY_PAGES => VFIO_IOMMU_DIRTY_PAGES,
        ioctl::group::GET_STATUS => VFIO_GROUP_GET_STATUS,
        ioctl::group::SET_CONTAINER => VFIO_GROUP_SET_CONTAINER,
        ioctl::group::UNSET_CONTAINER => VFIO_GROUP_UNSET_CONTAINER,
        ioctl::group::GET_DEVICE_FD => VFIO_GROUP_GET_DEVICE_FD,
        ioctl::device::GET_INFO => VFIO_DEVICE_GET_INFO,
        ioctl::device::GET_REGION_INFO => VFIO_DEVICE_GET_REGION_INFO,
        ioctl::device::GET_IRQ_INFO => VFIO_DEVICE_GET_IRQ_INFO,
        ioctl::device::SET_IRQS => VFIO_DEVICE_SET_IRQS,
        ioctl::device::RESET => VFIO_DEVICE_RESET,
        ioctl::device::GET_PCI_HOT_RESET_INFO => VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
        ioctl::device::PCI_HOT_RESET => VFIO_DEVICE_PCI_HOT_RESET,
        ioctl::device::QUERY_GFX_PLANE => VFIO_DEVICE_QUERY_GFX_PLANE,
        ioctl::device::GET_GFX_DMABUF => VFIO_DEVICE_GET_GFX_DMABUF,
        ioctl::device::IOEVENTFD => VFIO_DEVICE_IOEVENTFD,
        ioctl::device::FEATURE => VFIO_DEVICE_FEATURE,
    }

    // `_IO(type, nr)`: the type is in bits 8 to 15, the direction in bits that a known number tells.
    let io = |nr: u32| VFIO_GET_API_VERSION & !0xff | nr;
    assert_eq!(VFIO_TYPE, IOMMUFD_TYPE);
    assert_eq!(VFIO_GET_API_VERSION >> 8 & 0xff, VFIO_TYPE.into());
    same_numbers! {
        ioctl::device::BIND_IOMMUFD => io(VFIO_BASE + 18),
        ioctl::device::ATTACH_IOMMUFD_PT => io(VFIO_BASE + 19),
        ioctl::device::DETACH_IOMMUFD_PT => io(VFIO_BASE + 20),
        ioctl::migration::GET_PRECOPY_INFO => io(VFIO_BASE + 21),
        ioctl::iommufd::DESTROY => io(IOMMUFD_CMD_DESTROY),
        ioctl::iommufd::IOAS_ALLOC => io(IOMMUFD_CMD_IOAS_ALLOC),
        ioctl::iommufd::IOAS_ALLOW_IOVAS => io(IOMMUFD_CMD_IOAS_ALLOW_IOVAS),
        ioctl::iommufd::IOAS_COPY => io(IOMMUFD_CMD_IOAS_COPY),
        ioctl::iommufd::IOAS_IOVA_RANGES => io(IOMMUFD_CMD_IOAS_IOVA_RANGES),
        ioctl::iommufd::IOAS_MAP => io(IOMMUFD_CMD_IOAS_MAP),
        ioctl::iommufd::IOAS_UNMAP => io(IOMMUFD_CMD_IOAS_UNMAP),
        ioctl::iommufd::OPTION => io(IOMMUFD_CMD_OPTION),
        ioctl::iommufd::VFIO_IOAS => io(IOMMUFD_CMD_VFIO_IOAS),
        ioctl::iommufd::IOAS_MAP_FILE => io(IOMMUFD_CMD_IOAS_MAP_FILE),
        ioctl::iommufd::IOAS_NOIOMMU_GET_PA => io(IOMMUFD_CMD_IOAS_NOIOMMU_GET_PA),
    }
}
