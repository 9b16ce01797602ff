//! Where files are.

use std::ffi::CStr;
use std::string::ToString;

/// Where the container is.
pub const CONTAINER_PATH: &CStr = c"/dev/vfio/vfio";

/// Where the iommufd is, which is a container as well.
pub const IOMMUFD_PATH: &CStr = c"/dev/iommu";

/// What the path of a group begins with.
pub(super) const GROUP_PREFIX: &str = "/dev/vfio/";
/// What the path of a group begins with that no IOMMU confines.
pub(super) const NOIOMMU_PREFIX: &str = "/dev/vfio/noiommu-";
/// What the path of a device by itself begins with.
pub(super) const DEVICE_PREFIX: &str = "/dev/vfio/devices/vfio";

/// Returns the number at the end of a path, in the form that the kernel writes: without sign and
/// leading zeros.
pub(super) fn number_behind(path: &str, prefix: &str) -> Option<u32> {
    let text = path.strip_prefix(prefix)?;
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}
