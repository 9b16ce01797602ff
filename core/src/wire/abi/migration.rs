//! Migration of a device, the second protocol.

flags! {
    /// `VFIO_MIGRATION_*` (linux/vfio.h): which states a device has beyond the mandatory ones.
    pub struct MigrationFlags: u64 {
        /// [`MigState::STOP_COPY`], always set with the others.
        STOP_COPY = 1 << 0;
        /// [`MigState::RUNNING_P2P`].
        P2P = 1 << 1;
        /// [`MigState::PRE_COPY`], and [`MigState::PRE_COPY_P2P`] with [`P2P`](Self::P2P).
        PRE_COPY = 1 << 2;
    }
}

layout! {
    /// `struct vfio_device_feature_migration` (linux/vfio.h): what the device can migrate like.
    pub struct DeviceFeatureMigration(8) {
        /// The states that it has.
        pub flags: MigrationFlags => 0,
    }
}

ids! {
    /// `enum vfio_device_mig_state` (linux/vfio.h): state of a device in a migration.
    pub struct MigState: u32 {
        /// Failed; only a reset leads out.
        ERROR = 0;
        /// Stopped.
        STOP = 1;
        /// Running: the state without migration.
        RUNNING = 2;
        /// Stopped; the state can be read from the data descriptor.
        STOP_COPY = 3;
        /// Stopped; the state can be written to the data descriptor.
        RESUMING = 4;
        /// Running, but without access to other devices.
        RUNNING_P2P = 5;
        /// Running, while the state can be read already.
        PRE_COPY = 6;
        /// As [`PRE_COPY`](Self::PRE_COPY), but without access to other devices.
        PRE_COPY_P2P = 7;
    }
}

impl MigState {
    /// `VFIO_DEVICE_STATE_NR`: how many states there are.
    pub const NR: u32 = 8;
}

layout! {
    /// `struct vfio_device_feature_mig_state` (linux/vfio.h): read or set the state of a device.
    pub struct DeviceFeatureMigState(8) {
        /// A [`MigState`].
        pub device_state: u32 => 0,
        /// Answer: the data descriptor, -1 if the new state has none.
        pub data_fd: i32 => 4,
    }
}

flags! {
    /// `VFIO_PRECOPY_INFO_*` (linux/vfio.h).
    pub struct PrecopyInfoFlags: u32 {
        /// There is a new initial part: what was read of the former one is void.
        REINIT = 1 << 0;
    }
}

layout! {
    /// `struct vfio_precopy_info` (linux/vfio.h): answer of `VFIO_MIG_GET_PRECOPY_INFO`.
    pub struct PrecopyInfo(24) {
        /// Size of the buffer in bytes.
        pub argsz: u32 => 0,
        /// Valid only with
        /// [`FeatureId::MIG_PRECOPY_INFO_V2`](super::FeatureId::MIG_PRECOPY_INFO_V2).
        pub flags: PrecopyInfoFlags => 4,
        /// Bytes of the initial part that are still to be read.
        pub initial_bytes: u64 => 8,
        /// Bytes that have changed since they were read.
        pub dirty_bytes: u64 => 16,
    }
}

layout! {
    /// `struct vfio_device_feature_mig_data_size` (linux/vfio.h): estimate of the data in
    /// [`MigState::STOP_COPY`].
    pub struct DeviceFeatureMigDataSize(8) {
        /// Size in bytes.
        pub stop_copy_length: u64 => 0,
    }
}
