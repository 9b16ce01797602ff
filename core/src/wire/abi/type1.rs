//! The type1 IOMMU of a container.

use super::InfoCapHeader;

flags! {
    /// `VFIO_IOMMU_INFO_*` (linux/vfio.h).
    pub struct IommuInfoFlags: u32 {
        /// `iova_pgsizes` is valid.
        PGSIZES = 1 << 0;
        /// `cap_offset` is valid: capabilities follow, or would in a larger buffer. Since Linux 5.4.
        CAPS = 1 << 1;
    }
}

layout! {
    /// `struct vfio_iommu_type1_info` (linux/vfio.h): answer of `VFIO_IOMMU_GET_INFO`; capabilities
    /// ([`IommuCapId`]) may follow. Without `cap_offset` and `pad` it is 16 bytes.
    pub struct IommuType1Info(24) {
        /// Size of the buffer in bytes; the kernel sets the size that it needs, if larger. iommufd's
        /// container sets it always.
        pub argsz: u32 => 0,
        /// Which fields are valid.
        pub flags: IommuInfoFlags => 4,
        /// Page sizes: bit n stands for 2^n bytes.
        pub iova_pgsizes: u64 => 8,
        /// Offset in bytes of the first capability; meaningless without [`IommuInfoFlags::CAPS`].
        pub cap_offset: u32 => 16,
        /// Padding; some kernels leave it unwritten.
        pub pad: u32 => 20,
    }
}

ids! {
    /// Capabilities of the type1 IOMMU: `VFIO_IOMMU_TYPE1_INFO_*` (linux/vfio.h).
    pub struct IommuCapId: u16 {
        /// [`IommuType1InfoCapIovaRange`]. Since Linux 5.4.
        IOVA_RANGE = 1;
        /// [`IommuType1InfoCapMigration`]. Since Linux 5.8.
        MIGRATION = 2;
        /// [`IommuType1InfoDmaAvail`]. Since Linux 5.10.
        DMA_AVAIL = 3;
    }
}

layout! {
    /// `struct vfio_iova_range` (linux/vfio.h): addresses that can be mapped.
    pub struct IovaRange(16) {
        /// First address.
        pub start: u64 => 0,
        /// Last address, which still belongs to the range.
        pub end: u64 => 8,
    }
}

layout! {
    /// `struct vfio_iommu_type1_info_cap_iova_range` (linux/vfio.h), version 1: `nr_iovas` of
    /// [`IovaRange`] follow.
    pub struct IommuType1InfoCapIovaRange(16) {
        /// Head; `id` is [`IommuCapId::IOVA_RANGE`].
        pub header: InfoCapHeader => 0,
        /// Number of ranges that follow.
        pub nr_iovas: u32 => 8,
        /// Zero.
        pub reserved: u32 => 12,
    }
}

layout! {
    /// `struct vfio_iommu_type1_info_cap_migration` (linux/vfio.h), version 1: dirty pages can be
    /// tracked.
    pub struct IommuType1InfoCapMigration(if cfg!(target_arch = "x86") { 28 } else { 32 }) {
        /// Head; `id` is [`IommuCapId::MIGRATION`].
        pub header: InfoCapHeader => 0,
        /// Zero.
        pub flags: u32 => 8,
        /// Padding, where a `u64` is aligned to 8 bytes.
        #[cfg(not(target_arch = "x86"))]
        pub pad: u32 => 12,
        /// Page sizes of the bitmap: bit n stands for 2^n bytes.
        pub pgsize_bitmap: u64 => if cfg!(target_arch = "x86") { 12 } else { 16 },
        /// Greatest size of the bitmap in bytes.
        pub max_dirty_bitmap_size: u64 => if cfg!(target_arch = "x86") { 20 } else { 24 },
    }
}

layout! {
    /// `struct vfio_iommu_type1_info_dma_avail` (linux/vfio.h), version 1: how many mappings are left.
    pub struct IommuType1InfoDmaAvail(12) {
        /// Head; `id` is [`IommuCapId::DMA_AVAIL`].
        pub header: InfoCapHeader => 0,
        /// Number of mappings; `u32::MAX` from iommufd's container, which has no limit.
        pub avail: u32 => 8,
    }
}

flags! {
    /// `VFIO_DMA_MAP_FLAG_*` (linux/vfio.h).
    pub struct DmaMapFlags: u32 {
        /// The device may read.
        READ = 1 << 0;
        /// The device may write.
        WRITE = 1 << 1;
        /// Only give an existing mapping its new virtual address.
        VADDR = 1 << 2;
    }
}

layout! {
    /// `struct vfio_iommu_type1_dma_map` (linux/vfio.h): argument of `VFIO_IOMMU_MAP_DMA`.
    pub struct IommuType1DmaMap(32) {
        /// Size of the buffer in bytes.
        pub argsz: u32 => 0,
        /// What the device may do.
        pub flags: DmaMapFlags => 4,
        /// Address in the process, a multiple of the page size.
        pub vaddr: u64 => 8,
        /// Address for the device, a multiple of the page size.
        pub iova: u64 => 16,
        /// Size in bytes, a multiple of the page size.
        pub size: u64 => 24,
    }
}

layout! {
    /// `struct vfio_bitmap` (linux/vfio.h): where a bitmap of dirty pages goes.
    pub struct Bitmap(if cfg!(target_arch = "x86") { 20 } else { 24 }) {
        /// Size in bytes of the page that a bit stands for.
        pub pgsize: u64 => 0,
        /// Size of the bitmap in bytes.
        pub size: u64 => 8,
        /// Address of the bitmap, an array of `u64`; C has a pointer.
        pub data: usize => 16,
        /// Padding, where a pointer is shorter than the alignment of a `u64`.
        #[cfg(all(target_pointer_width = "32", not(target_arch = "x86")))]
        pub pad: u32 => 20,
    }
}

flags! {
    /// `VFIO_DMA_UNMAP_FLAG_*` (linux/vfio.h).
    pub struct DmaUnmapFlags: u32 {
        /// Get the dirty pages of the mapping; a [`Bitmap`] follows.
        GET_DIRTY_BITMAP = 1 << 0;
        /// Take all mappings away; `iova` and `size` are 0.
        ALL = 1 << 1;
        /// Keep the mapping, but forget its virtual address.
        VADDR = 1 << 2;
    }
}

layout! {
    /// `struct vfio_iommu_type1_dma_unmap` (linux/vfio.h): argument of `VFIO_IOMMU_UNMAP_DMA`; a
    /// [`Bitmap`] follows with [`DmaUnmapFlags::GET_DIRTY_BITMAP`].
    pub struct IommuType1DmaUnmap(24) {
        /// Size of the buffer in bytes, what follows included.
        pub argsz: u32 => 0,
        /// What to take away.
        pub flags: DmaUnmapFlags => 4,
        /// First address.
        pub iova: u64 => 8,
        /// Size in bytes; answer: how many bytes were unmapped.
        pub size: u64 => 16,
    }
}

flags! {
    /// `VFIO_IOMMU_DIRTY_PAGES_FLAG_*` (linux/vfio.h): exactly one.
    pub struct DirtyPagesFlags: u32 {
        /// Start to track.
        START = 1 << 0;
        /// Stop to track.
        STOP = 1 << 1;
        /// Get the dirty pages; an [`IommuType1DirtyBitmapGet`] follows.
        GET_BITMAP = 1 << 2;
    }
}

layout! {
    /// `struct vfio_iommu_type1_dirty_bitmap` (linux/vfio.h): head of the argument of
    /// `VFIO_IOMMU_DIRTY_PAGES`.
    pub struct IommuType1DirtyBitmap(8) {
        /// Size of the buffer in bytes, what follows included.
        pub argsz: u32 => 0,
        /// What to do.
        pub flags: DirtyPagesFlags => 4,
    }
}

layout! {
    /// `struct vfio_iommu_type1_dirty_bitmap_get` (linux/vfio.h): which dirty pages to get.
    pub struct IommuType1DirtyBitmapGet(if cfg!(target_arch = "x86") { 36 } else { 40 }) {
        /// First address.
        pub iova: u64 => 0,
        /// Size in bytes.
        pub size: u64 => 8,
        /// Where the bitmap goes.
        pub bitmap: Bitmap => 16,
    }
}
