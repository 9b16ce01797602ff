//! The head that every capability of an INFO ioctl starts with.

layout! {
    /// `struct vfio_info_cap_header` (linux/vfio.h): the head of one capability.
    ///
    /// What `id` means depends on the ioctl: [`DeviceCapId`](super::DeviceCapId),
    /// [`RegionCapId`](super::RegionCapId) or [`IommuCapId`](super::IommuCapId). A capability is at
    /// any multiple of 4 bytes on kernels before Linux 6.6, and of 8 bytes from then on.
    pub struct InfoCapHeader(8) {
        /// What the capability is, in the id space of the ioctl.
        pub id: u16 => 0,
        /// Version of the capability's layout; a higher one only appends.
        pub version: u16 => 2,
        /// Offset in bytes of the next capability from the start of the INFO buffer; 0 ends the chain.
        pub next: u32 => 4,
    }
}
