//! The part of iommufd that a driver needs: I/O address spaces (IOAS) and what is mapped in them.

layout! {
    /// `struct iommu_destroy` (linux/iommufd.h): destroy an object.
    pub struct IommuDestroy(8) {
        /// Size of the struct in bytes.
        pub size: u32 => 0,
        /// Id of the object, of any kind.
        pub id: u32 => 4,
    }
}

layout! {
    /// `struct iommu_ioas_alloc` (linux/iommufd.h): make an IOAS.
    pub struct IommuIoasAlloc(12) {
        /// Size of the struct in bytes.
        pub size: u32 => 0,
        /// Zero.
        pub flags: u32 => 4,
        /// Answer: id of the IOAS.
        pub out_ioas_id: u32 => 8,
    }
}

layout! {
    /// `struct iommu_iova_range` (linux/iommufd.h): a range of addresses.
    pub struct IommuIovaRange(16) {
        /// First address.
        pub start: u64 => 0,
        /// Last address, which still belongs to the range.
        pub last: u64 => 8,
    }
}

layout! {
    /// `struct iommu_ioas_iova_ranges` (linux/iommufd.h): ask which addresses can be mapped. If the
    /// ranges do not fit the error is `EMSGSIZE`, and `num_iovas` is right.
    pub struct IommuIoasIovaRanges(32) {
        /// Size of the struct in bytes.
        pub size: u32 => 0,
        /// Id of the IOAS.
        pub ioas_id: u32 => 4,
        /// Number of ranges that the array holds; answer: number of ranges that there are.
        pub num_iovas: u32 => 8,
        /// Zero.
        pub reserved: u32 => 12,
        /// Address of an array of [`IommuIovaRange`].
        pub allowed_iovas: u64 => 16,
        /// Answer: alignment in bytes that addresses and lengths of mappings must have.
        pub out_iova_alignment: u64 => 24,
    }
}

layout! {
    /// `struct iommu_ioas_allow_iovas` (linux/iommufd.h): ranges that must stay possible, whatever
    /// device is attached.
    pub struct IommuIoasAllowIovas(24) {
        /// Size of the struct in bytes.
        pub size: u32 => 0,
        /// Id of the IOAS.
        pub ioas_id: u32 => 4,
        /// Number of ranges.
        pub num_iovas: u32 => 8,
        /// Zero.
        pub reserved: u32 => 12,
        /// Address of an array of [`IommuIovaRange`].
        pub allowed_iovas: u64 => 16,
    }
}

flags! {
    /// `IOMMU_IOAS_MAP_*` (linux/iommufd.h).
    pub struct IoasMapFlags: u32 {
        /// Map at the given address; without it the kernel chooses one.
        FIXED_IOVA = 1 << 0;
        /// The device may write.
        WRITEABLE = 1 << 1;
        /// The device may read.
        READABLE = 1 << 2;
    }
}

layout! {
    /// `struct iommu_ioas_map` (linux/iommufd.h): map memory of the process.
    pub struct IommuIoasMap(40) {
        /// Size of the struct in bytes.
        pub size: u32 => 0,
        /// How to map.
        pub flags: IoasMapFlags => 4,
        /// Id of the IOAS.
        pub ioas_id: u32 => 8,
        /// Zero.
        pub reserved: u32 => 12,
        /// Address in the process.
        pub user_va: u64 => 16,
        /// Length in bytes.
        pub length: u64 => 24,
        /// Address for the device; an answer without [`IoasMapFlags::FIXED_IOVA`].
        pub iova: u64 => 32,
    }
}

layout! {
    /// `struct iommu_ioas_map_file` (linux/iommufd.h): map memory of a memfd.
    pub struct IommuIoasMapFile(40) {
        /// Size of the struct in bytes.
        pub size: u32 => 0,
        /// How to map.
        pub flags: IoasMapFlags => 4,
        /// Id of the IOAS.
        pub ioas_id: u32 => 8,
        /// The memfd.
        pub fd: i32 => 12,
        /// Offset in the file in bytes.
        pub start: u64 => 16,
        /// Length in bytes.
        pub length: u64 => 24,
        /// Address for the device; an answer without [`IoasMapFlags::FIXED_IOVA`].
        pub iova: u64 => 32,
    }
}

layout! {
    /// `struct iommu_ioas_copy` (linux/iommufd.h): map what another IOAS, or this one, has mapped.
    pub struct IommuIoasCopy(40) {
        /// Size of the struct in bytes.
        pub size: u32 => 0,
        /// How to map.
        pub flags: IoasMapFlags => 4,
        /// Id of the IOAS to map in.
        pub dst_ioas_id: u32 => 8,
        /// Id of the IOAS with the mapping.
        pub src_ioas_id: u32 => 12,
        /// Length in bytes.
        pub length: u64 => 16,
        /// Address for the device; an answer without [`IoasMapFlags::FIXED_IOVA`].
        pub dst_iova: u64 => 24,
        /// Address of the existing mapping.
        pub src_iova: u64 => 32,
    }
}

layout! {
    /// `struct iommu_ioas_unmap` (linux/iommufd.h): take mappings away. Address 0 and length
    /// `u64::MAX` are for all of them.
    pub struct IommuIoasUnmap(24) {
        /// Size of the struct in bytes.
        pub size: u32 => 0,
        /// Id of the IOAS.
        pub ioas_id: u32 => 4,
        /// First address.
        pub iova: u64 => 8,
        /// Length in bytes; answer: how many bytes were unmapped.
        pub length: u64 => 16,
    }
}

layout! {
    /// `struct iommu_ioas_noiommu_get_pa` (linux/iommufd.h): ask for the physical address of what is
    /// mapped, for a device without an IOMMU. Since Linux 7.3.
    pub struct IommuIoasNoiommuGetPa(40) {
        /// Size of the struct in bytes.
        pub size: u32 => 0,
        /// Zero.
        pub flags: u32 => 4,
        /// Id of the IOAS.
        pub ioas_id: u32 => 8,
        /// Zero.
        pub reserved: u32 => 12,
        /// Address in the IOAS.
        pub iova: u64 => 16,
        /// Length in bytes; answer: how many bytes are contiguous.
        pub length: u64 => 24,
        /// Answer: the physical address.
        pub out_phys: u64 => 32,
    }
}

ids! {
    /// `enum iommufd_option` (linux/iommufd.h): values of [`IommuOption::option_id`].
    pub struct IommuOptionId: u32 {
        /// `IOMMU_OPTION_RLIMIT_MODE`: pinned memory is accounted to the user (0, the default) or to
        /// the process (1). `object_id` is 0.
        RLIMIT_MODE = 0;
        /// `IOMMU_OPTION_HUGE_PAGES`: whether pages may be joined; 1 by default. `object_id` is an
        /// IOAS.
        HUGE_PAGES = 1;
    }
}

ids! {
    /// `enum iommufd_option_ops` (linux/iommufd.h): values of [`IommuOption::op`].
    pub struct IommuOptionOp: u16 {
        /// Set the option.
        SET = 0;
        /// Get the option.
        GET = 1;
    }
}

layout! {
    /// `struct iommu_option` (linux/iommufd.h): get or set an option.
    pub struct IommuOption(24) {
        /// Size of the struct in bytes.
        pub size: u32 => 0,
        /// An [`IommuOptionId`].
        pub option_id: u32 => 4,
        /// An [`IommuOptionOp`].
        pub op: u16 => 8,
        /// Zero.
        pub reserved: u16 => 10,
        /// Id of the object that the option is for.
        pub object_id: u32 => 12,
        /// The value; an answer for [`IommuOptionOp::GET`].
        pub val64: u64 => 16,
    }
}

ids! {
    /// `enum iommufd_vfio_ioas_op` (linux/iommufd.h): values of [`IommuVfioIoas::op`].
    pub struct IommuVfioIoasOp: u16 {
        /// Get the IOAS that stands for the container.
        GET = 0;
        /// Set it.
        SET = 1;
        /// Have none.
        CLEAR = 2;
    }
}

layout! {
    /// `struct iommu_vfio_ioas` (linux/iommufd.h): the IOAS that an iommufd uses when it stands in for
    /// a VFIO container.
    pub struct IommuVfioIoas(12) {
        /// Size of the struct in bytes.
        pub size: u32 => 0,
        /// Id of the IOAS; an answer for [`IommuVfioIoasOp::GET`].
        pub ioas_id: u32 => 4,
        /// An [`IommuVfioIoasOp`].
        pub op: u16 => 8,
        /// Zero.
        pub reserved: u16 => 10,
    }
}
