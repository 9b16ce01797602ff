//! What can be mapped of a region.

use vfio_core::coverage::Coverage;
use vfio_core::info::RegionInfo;
use vfio_freestanding::opaque::{any, used};

pub(crate) fn all(bytes: &[u8]) {
    if let Ok(region) = RegionInfo::decode(bytes) {
        Coverage::new(&region, any()).for_each(used);
    }
}
