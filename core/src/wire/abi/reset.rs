//! Hot reset of PCI devices: all of a bus or slot at once.

flags! {
    /// `VFIO_PCI_HOT_RESET_FLAG_*` (linux/vfio.h).
    pub struct HotResetFlags: u32 {
        /// The devices are named by their id in the iommufd, not by their group.
        DEV_ID = 1 << 0;
        /// All devices that the reset affects are owned by the caller. Since Linux 6.6.
        DEV_ID_OWNED = 1 << 1;
    }
}

layout! {
    /// `struct vfio_pci_dependent_device` (linux/vfio.h): a device that a hot reset affects.
    pub struct PciDependentDevice(8) {
        /// The IOMMU group; with [`HotResetFlags::DEV_ID`] the field is
        /// [`devid`](PciDependentDevice::devid).
        pub group_id: u32 => 0,
        /// PCI segment (domain).
        pub segment: u16 => 4,
        /// PCI bus.
        pub bus: u8 => 6,
        /// PCI device (upper 5 bits) and function (lower 3 bits).
        pub devfn: u8 => 7,
    }
}

impl PciDependentDevice {
    /// `VFIO_PCI_DEVID_OWNED`: the device has no id, yet the caller owns it.
    pub const DEVID_OWNED: u32 = 0;
    /// `VFIO_PCI_DEVID_NOT_OWNED`: the caller does not own the device.
    pub const DEVID_NOT_OWNED: u32 = u32::MAX;

    /// Returns the device's id in the iommufd. It is in an answer with [`HotResetFlags::DEV_ID`]; C
    /// has a union.
    pub const fn devid(&self) -> u32 {
        self.group_id
    }
}

layout! {
    /// `struct vfio_pci_hot_reset_info` (linux/vfio.h): head of the answer of
    /// `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO`; `count` of [`PciDependentDevice`] follow. If they do not
    /// fit the error is `ENOSPC`, and `count` is right.
    pub struct PciHotResetInfo(12) {
        /// Size of the buffer in bytes.
        pub argsz: u32 => 0,
        /// How the devices are named.
        pub flags: HotResetFlags => 4,
        /// Number of devices.
        pub count: u32 => 8,
    }
}

layout! {
    /// `struct vfio_pci_hot_reset` (linux/vfio.h): head of the argument of
    /// `VFIO_DEVICE_PCI_HOT_RESET`; `count` file descriptors, each an `i32`, follow: those of the
    /// affected groups, or none if the device was bound to an iommufd.
    pub struct PciHotReset(12) {
        /// Size of the buffer in bytes, file descriptors included.
        pub argsz: u32 => 0,
        /// Zero.
        pub flags: u32 => 4,
        /// Number of file descriptors.
        pub count: u32 => 8,
    }
}
