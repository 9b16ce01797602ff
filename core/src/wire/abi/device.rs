//! Devices: their information, their binding to an iommufd, and doorbells driven by an eventfd.

use super::InfoCapHeader;

/// `VFIO_DEVICE_API_*_STRING` (linux/vfio.h): the `device_api` of a mediated device in sysfs.
pub mod device_api {
    /// `VFIO_DEVICE_API_PCI_STRING`.
    pub const PCI: &str = "vfio-pci";
    /// `VFIO_DEVICE_API_PLATFORM_STRING`.
    pub const PLATFORM: &str = "vfio-platform";
    /// `VFIO_DEVICE_API_AMBA_STRING`.
    pub const AMBA: &str = "vfio-amba";
    /// `VFIO_DEVICE_API_CCW_STRING`.
    pub const CCW: &str = "vfio-ccw";
    /// `VFIO_DEVICE_API_AP_STRING`.
    pub const AP: &str = "vfio-ap";
}

flags! {
    /// `VFIO_DEVICE_FLAGS_*` (linux/vfio.h).
    pub struct DeviceFlags: u32 {
        /// `VFIO_DEVICE_RESET` works.
        RESET = 1 << 0;
        /// A PCI device.
        PCI = 1 << 1;
        /// A platform device.
        PLATFORM = 1 << 2;
        /// An AMBA device.
        AMBA = 1 << 3;
        /// An s390 channel device.
        CCW = 1 << 4;
        /// An s390 adjunct processor.
        AP = 1 << 5;
        /// A Freescale management complex device.
        FSL_MC = 1 << 6;
        /// `cap_offset` is valid: capabilities follow, or would in a larger buffer. Since Linux 5.11.
        CAPS = 1 << 7;
        /// An AMD CDX device.
        CDX = 1 << 8;
    }
}

layout! {
    /// `struct vfio_device_info` (linux/vfio.h): answer of `VFIO_DEVICE_GET_INFO`; capabilities
    /// ([`DeviceCapId`]) may follow. Without `cap_offset` and `pad` it is 16 bytes.
    pub struct DeviceInfo(24) {
        /// Size of the buffer in bytes; the kernel sets the size that it needs, if larger.
        pub argsz: u32 => 0,
        /// Kind of the device and what it can.
        pub flags: DeviceFlags => 4,
        /// Number of region indexes, used or not.
        pub num_regions: u32 => 8,
        /// Number of interrupt indexes, used or not.
        pub num_irqs: u32 => 12,
        /// Offset in bytes of the first capability; meaningless without [`DeviceFlags::CAPS`].
        pub cap_offset: u32 => 16,
        /// Padding; some kernels leave it unwritten.
        pub pad: u32 => 20,
    }
}

ids! {
    /// Capabilities of a device: `VFIO_DEVICE_INFO_CAP_*` (linux/vfio.h).
    pub struct DeviceCapId: u16 {
        /// [`DeviceInfoCapZpciBase`](super::DeviceInfoCapZpciBase). Since Linux 5.11.
        ZPCI_BASE = 1;
        /// [`DeviceInfoCapZpciGroup`](super::DeviceInfoCapZpciGroup). Since Linux 5.11.
        ZPCI_GROUP = 2;
        /// [`DeviceInfoCapZpciUtil`](super::DeviceInfoCapZpciUtil). Since Linux 5.11.
        ZPCI_UTIL = 3;
        /// [`DeviceInfoCapZpciPfip`](super::DeviceInfoCapZpciPfip). Since Linux 5.11.
        ZPCI_PFIP = 4;
        /// [`DeviceInfoCapPciAtomicComp`].
        PCI_ATOMIC_COMP = 5;
    }
}

flags! {
    /// `VFIO_PCI_ATOMIC_COMP*` (linux/vfio.h): widths of atomic operations that the root port
    /// completes.
    pub struct AtomicCompFlags: u32 {
        /// `VFIO_PCI_ATOMIC_COMP32`: 32-bit fetch-and-add, swap and compare-and-swap.
        COMP32 = 1 << 0;
        /// `VFIO_PCI_ATOMIC_COMP64`: 64-bit fetch-and-add, swap and compare-and-swap.
        COMP64 = 1 << 1;
        /// `VFIO_PCI_ATOMIC_COMP128`: 128-bit compare-and-swap.
        COMP128 = 1 << 2;
    }
}

layout! {
    /// `struct vfio_device_info_cap_pci_atomic_comp` (linux/vfio.h), version 1.
    pub struct DeviceInfoCapPciAtomicComp(16) {
        /// Head; `id` is [`DeviceCapId::PCI_ATOMIC_COMP`].
        pub header: InfoCapHeader => 0,
        /// Widths that are completed.
        pub flags: AtomicCompFlags => 8,
        /// Zero.
        pub reserved: u32 => 12,
    }
}

flags! {
    /// `VFIO_DEVICE_IOEVENTFD_*` (linux/vfio.h): width of the write, exactly one.
    pub struct IoeventfdFlags: u32 {
        /// `VFIO_DEVICE_IOEVENTFD_8`: one byte.
        SIZE_8 = 1 << 0;
        /// `VFIO_DEVICE_IOEVENTFD_16`: two bytes.
        SIZE_16 = 1 << 1;
        /// `VFIO_DEVICE_IOEVENTFD_32`: four bytes.
        SIZE_32 = 1 << 2;
        /// `VFIO_DEVICE_IOEVENTFD_64`: eight bytes.
        SIZE_64 = 1 << 3;
    }
}

impl IoeventfdFlags {
    /// `VFIO_DEVICE_IOEVENTFD_SIZE_MASK`: all bits that give a width.
    pub const SIZE_MASK: Self = Self(0xf);
}

layout! {
    /// `struct vfio_device_ioeventfd` (linux/vfio.h): write to a register whenever an eventfd is
    /// signalled.
    pub struct DeviceIoeventfd(32) {
        /// Size of the buffer in bytes.
        pub argsz: u32 => 0,
        /// Width of the write.
        pub flags: IoeventfdFlags => 4,
        /// Where to write, as an offset in bytes in the device's file descriptor.
        pub offset: u64 => 8,
        /// What to write.
        pub data: u64 => 16,
        /// The eventfd; -1 takes the write away again.
        pub fd: i32 => 24,
        /// Zero.
        pub reserved: u32 => 28,
    }
}

flags! {
    /// `VFIO_DEVICE_BIND_FLAG_*` (linux/vfio.h).
    pub struct BindFlags: u32 {
        /// `token_uuid_ptr` is valid.
        TOKEN = 1 << 0;
    }
}

layout! {
    /// `struct vfio_device_bind_iommufd` (linux/vfio.h): bind an opened device to an iommufd. The
    /// first 16 bytes suffice without [`BindFlags::TOKEN`].
    pub struct DeviceBindIommufd(24) {
        /// Size of the buffer in bytes.
        pub argsz: u32 => 0,
        /// Whether there is a token.
        pub flags: BindFlags => 4,
        /// File descriptor of `/dev/iommu`.
        pub iommufd: i32 => 8,
        /// Answer: the id of the device in the iommufd.
        pub out_devid: u32 => 12,
        /// Address of the 16 bytes of the VF token.
        pub token_uuid_ptr: u64 => 16,
    }
}

flags! {
    /// `VFIO_DEVICE_ATTACH_PASID` and `VFIO_DEVICE_DETACH_PASID` (linux/vfio.h).
    pub struct AttachFlags: u32 {
        /// `pasid` is valid. Since Linux 6.15.
        PASID = 1 << 0;
    }
}

layout! {
    /// `struct vfio_device_attach_iommufd_pt` (linux/vfio.h): give a bound device its address space.
    /// The first 12 bytes suffice without [`AttachFlags::PASID`].
    pub struct DeviceAttachIommufdPt(16) {
        /// Size of the buffer in bytes.
        pub argsz: u32 => 0,
        /// Whether it is for a PASID.
        pub flags: AttachFlags => 4,
        /// Id of the IOAS or page table; answer: the page table that is used.
        pub pt_id: u32 => 8,
        /// The PASID.
        pub pasid: u32 => 12,
    }
}

layout! {
    /// `struct vfio_device_detach_iommufd_pt` (linux/vfio.h): take a device's address space away. The
    /// first 8 bytes suffice without [`AttachFlags::PASID`].
    pub struct DeviceDetachIommufdPt(12) {
        /// Size of the buffer in bytes.
        pub argsz: u32 => 0,
        /// Whether it is for a PASID.
        pub flags: AttachFlags => 4,
        /// The PASID.
        pub pasid: u32 => 8,
    }
}
