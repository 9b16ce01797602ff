//! What can be mapped of a region.

use vfio_core::device::coverage::Coverage;
use vfio_core::wire::info::RegionInfo;
use vfio_freestanding::opaque::{any, used};

pub(crate) fn all(bytes: &[u8]) {
    if let Ok(region) = RegionInfo::decode(bytes) {
        Coverage::new(&region, any()).for_each(used);
    }
}
