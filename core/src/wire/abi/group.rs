//! Groups and containers.

ids! {
    /// What a container is asked for with `VFIO_CHECK_EXTENSION` and, where it is an IOMMU, set to
    /// with `VFIO_SET_IOMMU` (linux/vfio.h).
    pub struct Extension: u32 {
        /// `VFIO_TYPE1_IOMMU`: the type1 IOMMU.
        TYPE1_IOMMU = 1;
        /// `VFIO_TYPE1v2_IOMMU`: type1, where an unmap cannot split a mapping.
        TYPE1V2_IOMMU = 3;
        /// `VFIO_DMA_CC_IOMMU`: the IOMMU enforces cache coherence.
        DMA_CC_IOMMU = 4;
        /// `VFIO_NOIOMMU_IOMMU`: no IOMMU; the device reaches all of memory.
        NOIOMMU_IOMMU = 8;
        /// `VFIO_UNMAP_ALL`: [`DmaUnmapFlags::ALL`](super::DmaUnmapFlags::ALL) works.
        UNMAP_ALL = 9;
        /// `VFIO_UPDATE_VADDR`: [`DmaMapFlags::VADDR`](super::DmaMapFlags::VADDR) works.
        UPDATE_VADDR = 10;
    }
}

flags! {
    /// `VFIO_GROUP_FLAGS_*` (linux/vfio.h).
    pub struct GroupFlags: u32 {
        /// All devices of the group are bound to VFIO, or to no driver.
        VIABLE = 1 << 0;
        /// The group is in a container.
        CONTAINER_SET = 1 << 1;
    }
}

layout! {
    /// `struct vfio_group_status` (linux/vfio.h): answer of `VFIO_GROUP_GET_STATUS`.
    pub struct GroupStatus(8) {
        /// Size of the buffer in bytes.
        pub argsz: u32 => 0,
        /// State of the group.
        pub flags: GroupFlags => 4,
    }
}
