//! The answering side.

use core::hint::black_box;

use vfio_core::sys::InfoRequest;
use vfio_core::wire::abi::{GroupFlags, PciDependentDevice, RegionSparseMmapArea};
use vfio_core::wire::caps::{
    Array, DeviceCap, IommuCap, RegionCap, SparseMmap, ZpciBase, ZpciGroup,
};
use vfio_core::wire::server::{
    self, DeviceReply, Dialect, HotReset, IommuDriver, IommuReply, IrqData, IrqReply, IrqRequest,
    RegionReply,
};
use vfio_freestanding::opaque::{any, used};

const REQUESTS: [InfoRequest; 6] = [
    InfoRequest::GroupStatus,
    InfoRequest::Iommu,
    InfoRequest::Device,
    InfoRequest::Region,
    InfoRequest::Irq,
    InfoRequest::PciHotReset,
];

pub(crate) fn all(reply: &mut [u8]) {
    let flags: GroupFlags = any();
    used(server::group_status(flags, reply));
    for dialect in black_box([Dialect::LINUX_6_6, Dialect::LINUX_6_1, Dialect::MDEV]) {
        device(dialect, reply);
        iommu(dialect, reply);
    }
}

fn device(dialect: Dialect, reply: &mut [u8]) {
    let areas: [RegionSparseMmapArea; 3] = any();
    let region_caps = [
        RegionCap::SparseMmap(SparseMmap::new(&areas)),
        RegionCap::MsixMappable,
        RegionCap::Nvlink2Ssatgt { tgt: any() },
        RegionCap::Nvlink2Lnkspd { link_speed: any() },
    ];
    let bytes: [u8; 16] = any();
    let caps = [
        DeviceCap::ZpciBase(any::<ZpciBase>()),
        DeviceCap::ZpciGroup(any::<ZpciGroup>()),
        DeviceCap::ZpciUtil {
            util_str: black_box(&bytes),
        },
        DeviceCap::PciAtomicComp { flags: any() },
    ];
    let devices: [PciDependentDevice; 3] = any();
    let regions = [
        Some(RegionReply {
            flags: any(),
            size: any(),
            offset: any(),
            caps: black_box(&region_caps),
        }),
        None,
    ];
    let irqs = [Some(any::<IrqReply>()), None];
    let device = DeviceReply {
        flags: any(),
        caps: black_box(&caps),
        regions: black_box(&regions),
        irqs: black_box(&irqs),
        hot_reset: black_box(Some(HotReset {
            flags: any(),
            devices: black_box(&devices),
        })),
        dialect,
    };
    for asked in black_box(REQUESTS) {
        used(InfoRequest::number(asked));
        used(DeviceReply::answer(&device, asked, reply));
    }
    used(IrqRequest::parse_beside(reply, black_box(&irqs), any()).is_ok());
    if let Ok(request) = IrqRequest::parse(reply, black_box(&irqs)) {
        used(IrqRequest::concerns(&request, any()));
        used(IrqRequest::disables(&request));
        used(IrqData::events(request.data).count());
    }
}

fn iommu(dialect: Dialect, reply: &mut [u8]) {
    let ranges = any();
    let caps = [
        IommuCap::Migration {
            flags: any(),
            pgsize_bitmap: any(),
            max_dirty_bitmap_size: any(),
        },
        IommuCap::DmaAvail { avail: any() },
        IommuCap::IovaRange(Array::new(black_box::<&[_; 3]>(&ranges))),
    ];
    for driver in black_box([IommuDriver::Type1, IommuDriver::Iommufd]) {
        let iommu = IommuReply {
            driver,
            iova_pgsizes: any(),
            caps: black_box(&caps),
            dialect,
        };
        for asked in black_box(REQUESTS) {
            used(IommuReply::answer(&iommu, asked, reply));
        }
    }
}
