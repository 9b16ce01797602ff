//! Where a device is to be found.

use core::ffi::CStr;

use crate::sys::NoIommu;

/// Where a device is to be found: what sysfs says of it
/// (`vfio_hosted::discovery` finds it on Linux), and what its user adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place<'a> {
    /// The name by which its group knows it: the address of a PCI device (`0000:00:05.0`), the
    /// UUID of a mediated one.
    pub name: &'a CStr,
    /// The number of its IOMMU group; there may be none with a kernel that has only character
    /// devices.
    pub group: Option<u32>,
    /// Whether the group is not an IOMMU's but one that VFIO made up
    /// (`enable_unsafe_noiommu_mode`).
    pub is_noiommu: bool,
    /// The word of the user that the device may be opened without an IOMMU; it never is without.
    pub noiommu: Option<NoIommu>,
    /// The path of its character device (`/dev/vfio/devices/vfioN`), where it has one.
    pub cdev: Option<&'a CStr>,
    /// The path of the socket of the process that serves it (vfio-user), where one does.
    pub socket: Option<&'a CStr>,
    /// The token, a UUID, of an SR-IOV physical function: it is set for the physical function
    /// itself, and a virtual one is not opened without it
    /// ([`set_vf_token`](crate::device::Device::set_vf_token)).
    pub token: Option<[u8; 16]>,
}

#[cfg(feature = "defmt")]
impl defmt::Format for Place<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Place({=[u8]:a})", self.name.to_bytes());
    }
}
