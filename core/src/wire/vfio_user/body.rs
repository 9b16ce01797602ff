//! The structures behind the header (libvfio-user's `vfio-user.h`).
//!
//! Those of the INFO commands, of `DEVICE_SET_IRQS` and of `DEVICE_FEATURE` are the kernel's
//! ([`abi`](crate::wire::abi)).

flags! {
    /// `VFIO_USER_F_DMA_REGION_*`: what the device may do with memory.
    pub struct DmaMapFlags: u32 {
        /// It reads.
        READ = 1 << 0;
        /// It writes.
        WRITE = 1 << 1;
        /// The descriptor can be mapped.
        MMAP = 1 << 2;
        /// The descriptor can be read and written.
        FILE_IO = 1 << 3;
    }
}

flags! {
    /// `VFIO_DMA_UNMAP_FLAG_*` as this protocol has them.
    pub struct DmaUnmapFlags: u32 {
        /// The reply has a bitmap of the pages that were written. Versions of late do not have it.
        GET_DIRTY_BITMAP = 1 << 0;
        /// Everything is unmapped.
        ALL = 1 << 1;
        /// As [`DmaUnmapFlags::ALL`], by clients made with `vfio_user` 0.1.7.
        ALL_OTHERWISE = 1 << 2;
    }
}

ids! {
    /// `VFIO_USER_IO_FD_TYPE_*`: how a part of a region is written without a message.
    pub struct IoeventfdType: u32 {
        /// By signalling an eventfd.
        IOEVENTFD = 0;
        /// By a message of the kernel's.
        IOREGIONFD = 1;
        /// By signalling an eventfd, with the value in memory.
        IOEVENTFD_SHADOW = 2;
    }
}

layout! {
    /// The version: text may follow, JSON that ends in NUL.
    pub struct VersionHead(4) {
        /// 0; another one is another protocol.
        pub major: u16 => 0,
        /// The newest that is spoken.
        pub minor: u16 => 2,
    }
}

layout! {
    /// `struct vfio_user_dma_map`: memory for the device's use. With a descriptor, it is a file's.
    pub struct DmaMap(32) {
        /// Size of the structure in bytes.
        pub argsz: u32 => 0,
        /// What the device may do.
        pub flags: DmaMapFlags => 4,
        /// Where the memory begins in the file, in bytes.
        pub offset: u64 => 8,
        /// Where the device finds it.
        pub address: u64 => 16,
        /// Its length in bytes.
        pub size: u64 => 24,
    }
}

layout! {
    /// `struct vfio_user_dma_unmap`: memory that is taken back, which the reply repeats.
    pub struct DmaUnmap(24) {
        /// Size of the structure in bytes.
        pub argsz: u32 => 0,
        /// Whether it is about all memory.
        pub flags: DmaUnmapFlags => 4,
        /// Where the device found it.
        pub address: u64 => 8,
        /// Its length in bytes.
        pub size: u64 => 16,
    }
}

layout! {
    /// `struct vfio_user_region_access`: what is read or written of a region. The data follow.
    pub struct RegionAccess(16) {
        /// Bytes from the start of the region.
        pub offset: u64 => 0,
        /// The index of the region.
        pub region: u32 => 8,
        /// How many bytes.
        pub count: u32 => 12,
    }
}

layout! {
    /// `struct vfio_user_dma_region_access`: what the device reads or writes of memory. The data
    /// follow.
    pub struct DmaAccess(16) {
        /// Where the device finds it.
        pub address: u64 => 0,
        /// How many bytes.
        pub count: u64 => 8,
    }
}

layout! {
    /// `struct vfio_user_region_io_fds_request`, and the head of its reply, which one
    /// [`Ioeventfd`] follows for each part.
    pub struct IoFdsHead(16) {
        /// Size in bytes that is provided; in the reply, that is needed.
        pub argsz: u32 => 0,
        /// Zero.
        pub flags: u32 => 4,
        /// The index of the region.
        pub index: u32 => 8,
        /// How many parts there are; zero in the request.
        pub count: u32 => 12,
    }
}

layout! {
    /// `struct vfio_user_sub_region_ioeventfd`: a part of a region that an eventfd stands for.
    pub struct Ioeventfd(48) {
        /// Where it is, in bytes from the start of the region.
        pub gpa_offset: u64 => 0,
        /// Its length in bytes.
        pub size: u64 => 8,
        /// Which of the descriptors beside the reply is its.
        pub fd_index: u32 => 16,
        /// How it is written.
        pub type_: IoeventfdType => 20,
        /// Flags of `KVM_IOEVENTFD`.
        pub flags: u32 => 24,
        /// Which of the descriptors is the memory with the value.
        pub shadow_mem_fd_index: u32 => 28,
        /// Where in that memory the value is, in bytes.
        pub shadow_offset: u64 => 32,
        /// The value that is matched.
        pub datamatch: u64 => 40,
    }
}

layout! {
    /// One write of `REGION_WRITE_MULTI`, of up to 8 bytes.
    pub struct Write(24) {
        /// Bytes from the start of the region.
        pub offset: u64 => 0,
        /// The index of the region.
        pub region: u32 => 8,
        /// How many bytes.
        pub count: u32 => 12,
        /// The bytes.
        pub data: [u8; 8] => 16,
    }
}

layout! {
    /// `struct vfio_user_mig_data`: data of a migration, which follow.
    pub struct MigrationData(8) {
        /// Size in bytes of the structure and the data.
        pub argsz: u32 => 0,
        /// How many bytes of data.
        pub size: u32 => 4,
    }
}
