//! The few functions of the ABI's declarations.

use vfio_core::wire::abi::{
    DeviceGfxPlaneInfo, FeatureFlags, FeatureId, PciDependentDevice, RegionCapId, RegionType,
};
use vfio_freestanding::opaque::{any, used};

pub(crate) fn all() {
    used(FeatureFlags::with_feature(any(), any()));
    used(FeatureFlags::feature(any()));
    used(FeatureId::name(any()));
    used(RegionCapId::name(any()));
    used(RegionType::pci_vendor(any()));
    used(RegionType::vendor(any()));
    used(PciDependentDevice::devid(&any()));
    used(DeviceGfxPlaneInfo::dmabuf_id(&any()));
}
