//! Device features, but for those of migration.

use super::define;

ids! {
    /// `VFIO_DEVICE_FEATURE_*` (linux/vfio.h): the index of a feature.
    pub struct FeatureId: u16 {
        /// Set the VF token, a UUID of 16 bytes.
        PCI_VF_TOKEN = 0;
        /// [`DeviceFeatureMigration`](super::DeviceFeatureMigration).
        MIGRATION = 1;
        /// [`DeviceFeatureMigState`](super::DeviceFeatureMigState). Since Linux 5.18.
        MIG_DEVICE_STATE = 2;
        /// Allow low power; no data.
        LOW_POWER_ENTRY = 3;
        /// [`DeviceLowPowerEntryWithWakeup`].
        LOW_POWER_ENTRY_WITH_WAKEUP = 4;
        /// Forbid low power; no data.
        LOW_POWER_EXIT = 5;
        /// [`DeviceFeatureDmaLoggingControl`]. Since Linux 6.1.
        DMA_LOGGING_START = 6;
        /// Stop to log; no data. Since Linux 6.1.
        DMA_LOGGING_STOP = 7;
        /// [`DeviceFeatureDmaLoggingReport`]. Since Linux 6.1.
        DMA_LOGGING_REPORT = 8;
        /// [`DeviceFeatureMigDataSize`](super::DeviceFeatureMigDataSize).
        MIG_DATA_SIZE = 9;
        /// [`DeviceFeatureBusMaster`].
        BUS_MASTER = 10;
        /// [`DeviceFeatureDmaBuf`]. Since Linux 6.19.
        DMA_BUF = 11;
        /// `VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2`: have the kernel write
        /// [`PrecopyInfo::flags`](super::PrecopyInfo::flags); no data.
        MIG_PRECOPY_INFO_V2 = 12;
        /// [`DeviceFeatureZpciErr`]. Since Linux 7.3.
        ZPCI_ERROR = 13;
    }
}

flags! {
    /// `VFIO_DEVICE_FEATURE_{GET,SET,PROBE}` (linux/vfio.h), with the [`FeatureId`] in the low 16
    /// bits.
    pub struct FeatureFlags: u32 {
        /// Read the feature.
        GET = 1 << 16;
        /// Write the feature.
        SET = 1 << 17;
        /// Only ask whether the feature can be read or written, as the other flags say.
        PROBE = 1 << 18;
    }
}

impl FeatureFlags {
    /// `VFIO_DEVICE_FEATURE_MASK`: the bits with the [`FeatureId`].
    pub const MASK: Self = Self(0xffff);

    /// Makes the same flags for the feature `id`, in place of any feature they were for.
    pub const fn with_feature(self, id: FeatureId) -> Self {
        Self(self.0 & !Self::MASK.0 | define::widen(id.0))
    }

    /// Returns the feature that the flags are for.
    pub const fn feature(self) -> FeatureId {
        FeatureId(define::low_half(self.0))
    }
}

layout! {
    /// `struct vfio_device_feature` (linux/vfio.h): head of the argument of `VFIO_DEVICE_FEATURE`;
    /// the feature's data follows.
    pub struct DeviceFeature(8) {
        /// Size of the buffer in bytes, data included.
        pub argsz: u32 => 0,
        /// Which feature, and what to do.
        pub flags: FeatureFlags => 4,
    }
}

layout! {
    /// `struct vfio_device_low_power_entry_with_wakeup` (linux/vfio.h): allow low power, and tell
    /// when the device wakes.
    pub struct DeviceLowPowerEntryWithWakeup(8) {
        /// The eventfd to signal.
        pub wakeup_eventfd: i32 => 0,
        /// Zero.
        pub reserved: u32 => 4,
    }
}

layout! {
    /// `struct vfio_device_feature_dma_logging_control` (linux/vfio.h): start to log what the device
    /// writes by DMA.
    pub struct DeviceFeatureDmaLoggingControl(24) {
        /// Wanted granularity in bytes, a power of two; 0 leaves it to the device.
        pub page_size: u64 => 0,
        /// Number of ranges.
        pub num_ranges: u32 => 8,
        /// Zero.
        pub reserved: u32 => 12,
        /// Address of the array of [`DeviceFeatureDmaLoggingRange`].
        pub ranges: u64 => 16,
    }
}

layout! {
    /// `struct vfio_device_feature_dma_logging_range` (linux/vfio.h).
    pub struct DeviceFeatureDmaLoggingRange(16) {
        /// Start of the range.
        pub iova: u64 => 0,
        /// Length in bytes.
        pub length: u64 => 8,
    }
}

layout! {
    /// `struct vfio_device_feature_dma_logging_report` (linux/vfio.h): read and clear what was logged.
    pub struct DeviceFeatureDmaLoggingReport(32) {
        /// Start of the range.
        pub iova: u64 => 0,
        /// Length in bytes.
        pub length: u64 => 8,
        /// Granularity in bytes, a power of two.
        pub page_size: u64 => 16,
        /// Address of the bitmap, an array of `u64` with one bit for each page.
        pub bitmap: u64 => 24,
    }
}

ids! {
    /// `VFIO_DEVICE_FEATURE_{CLEAR,SET}_MASTER` (linux/vfio.h): values of
    /// [`DeviceFeatureBusMaster::op`].
    pub struct BusMasterOp: u32 {
        /// `VFIO_DEVICE_FEATURE_CLEAR_MASTER`: no DMA.
        CLEAR_MASTER = 0;
        /// `VFIO_DEVICE_FEATURE_SET_MASTER`: allow DMA.
        SET_MASTER = 1;
    }
}

layout! {
    /// `struct vfio_device_feature_bus_master` (linux/vfio.h): switch bus mastering.
    pub struct DeviceFeatureBusMaster(4) {
        /// A [`BusMasterOp`].
        pub op: u32 => 0,
    }
}

layout! {
    /// `struct vfio_region_dma_range` (linux/vfio.h): a part of a region.
    pub struct RegionDmaRange(16) {
        /// Start in bytes from the start of the region, a multiple of the page size.
        pub offset: u64 => 0,
        /// Length in bytes, a multiple of the page size.
        pub length: u64 => 8,
    }
}

layout! {
    /// `struct vfio_device_feature_dma_buf` (linux/vfio.h): get a dma-buf of parts of a region.
    /// `nr_ranges` of [`RegionDmaRange`] follow.
    pub struct DeviceFeatureDmaBuf(16) {
        /// Index of the region.
        pub region_index: u32 => 0,
        /// Flags of the new file descriptor, as for `open`.
        pub open_flags: u32 => 4,
        /// Zero.
        pub flags: u32 => 8,
        /// Number of ranges.
        pub nr_ranges: u32 => 12,
    }
}

layout! {
    /// `struct vfio_device_feature_zpci_err` (linux/vfio.h): read the oldest pending error of a PCI
    /// function on s390; `ENOMSG` if there is none.
    pub struct DeviceFeatureZpciErr(8) {
        /// Address of a buffer of
        /// [`ccdf_err_length`](super::DeviceInfoCapZpciBase::ccdf_err_length) bytes.
        pub data: u64 => 0,
    }
}
