//! Finished replies.

use core::hint::black_box;

use vfio_core::wire::info::{DeviceInfo, HotResetInfo, InfoError, IommuInfo, IrqInfo, RegionInfo};
use vfio_core::wire::info::{Malformed, Mappable};
use vfio_freestanding::opaque::used;

pub(crate) fn all(bytes: &[u8]) {
    decoded(DeviceInfo::decode(bytes), device);
    decoded(RegionInfo::decode(bytes), region);
    decoded(IrqInfo::decode(bytes), used);
    decoded(IommuInfo::decode(bytes), iommu);
    decoded(HotResetInfo::decode(bytes), hot_reset);
}

/// Looks at a device.
pub(crate) fn device(info: DeviceInfo<'_>) {
    info.caps.iter().for_each(used);
    used(info == black_box(info));
}

/// Looks at a region.
pub(crate) fn region(info: RegionInfo<'_>) {
    info.caps.iter().for_each(used);
    used(RegionInfo::kind(&info));
    used(RegionInfo::is_msix_mappable(&info));
    if let Mappable::Areas(sparse) = RegionInfo::mappable(&info) {
        sparse.areas.iter().for_each(used);
    }
    used(info == black_box(info));
}

/// Looks at an IOMMU.
pub(crate) fn iommu(info: IommuInfo<'_>) {
    info.caps.iter().for_each(used);
    if let Some(ranges) = IommuInfo::iova_ranges(&info) {
        ranges.iter().for_each(used);
    }
    used(IommuInfo::dma_avail(&info));
    used(info == black_box(info));
}

/// Looks at what a hot reset takes along.
pub(crate) fn hot_reset(info: HotResetInfo<'_>) {
    info.devices.iter().for_each(used);
    used(info == black_box(info));
}

/// Looks at what is wrong with a reply.
pub(crate) fn malformed(error: Malformed) {
    used((Malformed::kind(&error), Malformed::offset(&error)));
    used(error);
}

fn decoded<T, H>(result: Result<T, InfoError<H>>, look: impl Fn(T)) {
    match result {
        Ok(info) => look(info),
        Err(InfoError::TooSmall { head, needed }) => used((head, needed)),
        Err(InfoError::Malformed(error)) => malformed(error),
    }
}
