//! What a device can be told beyond its registers: features, resets, migration, logs, displays.

use core::hint::black_box;

use vfio_core::device::Device;
use vfio_core::device::display::{Edid, PlaneMemory, PlaneType};
use vfio_core::device::dma_buf::DmaBuf;
use vfio_core::device::ioeventfd::Ioeventfd;
use vfio_core::device::migration::MigrationData;
use vfio_core::device::reset::Ownership;
use vfio_core::open::container::{Container, Group};
use vfio_core::open::iommufd::Ioas;
use vfio_core::sys::PageRange;
use vfio_core::sys::{
    Absent, DIRTY_BITMAP_LEN, DMA_LOGGING_REPORT_LEN, DMA_LOGGING_START_LEN, Exchange,
    ExchangeRequest, MIG_STATE_LEN, UNMAP_DIRTY_LEN,
};
use vfio_core::wire::abi::{DeviceFeatureDmaLoggingRange, DeviceGfxPlaneInfo, RegionDmaRange};
use vfio_freestanding::opaque::{Opaque, OpaqueEvent, OpaqueFd, any, used};

pub(crate) fn all(bytes: &mut [u8]) {
    let device = Device::new(Opaque, OpaqueFd);
    features(&device);
    migration(&device, bytes);
    logs(&device);
    display(&device, bytes);
    dma_buf(&device, bytes);
    exchanges(bytes);
    if let Ok(region) = Device::region(&device, any(), bytes) {
        for write in [
            Device::ioeventfd(&device, &region, any(), any::<u8>(), &OpaqueEvent),
            Device::ioeventfd(&device, &region, any(), any::<u64>(), &OpaqueEvent),
        ] {
            used(write.map(Ioeventfd::remove));
        }
    }
    used(Device::hot_reset(&device, &Ownership::Iommufd, bytes));
    if let Ok(container) = Container::open(Opaque) {
        tracked(&container);
        if let Ok(group) = Container::attach(&container, any()) {
            reset(&device, &group, bytes);
        }
    }
}

fn features(device: &Device<Opaque>) {
    used(Device::probe_feature(device, any()));
    used(Device::set_bus_master(device, any()));
    used(Device::set_vf_token(device, any()));
    used(Device::enter_low_power(device));
    used(Device::enter_low_power_with_wakeup(device, &OpaqueEvent));
    used(Device::exit_low_power(device));
}

fn reset(device: &Device<Opaque>, group: &Group<Opaque>, bytes: &mut [u8]) {
    let groups = [Group::fd(group); 3];
    let groups = groups.get(..any()).unwrap_or_default();
    used(Device::hot_reset(device, &Ownership::Groups(groups), bytes));
}

fn migration(device: &Device<Opaque>, bytes: &mut [u8]) {
    used(Device::migration(device));
    used(Device::migration_state(device));
    used(Device::stop_copy_len(device));
    used(Device::report_precopy_restarts(device));
    match Device::set_migration_state(device, any()) {
        Ok(Some(mut data)) => {
            used(MigrationData::read(&mut data, bytes));
            used(MigrationData::write(&mut data, bytes));
            used(MigrationData::write_all(&mut data, bytes));
            used(MigrationData::precopy(&data));
        }
        Ok(None) => (),
        Err(error) => used(error),
    }
}

fn pages() -> PageRange {
    PageRange {
        iova: any(),
        size: any(),
        page: any(),
    }
}

fn tracked(container: &Container<Opaque>) {
    let mut bitmap = [0; 3];
    used(Container::start_dirty_tracking(container));
    used(Container::stop_dirty_tracking(container));
    used(Container::dirty_pages(container, pages(), &mut bitmap));
    used(Container::unmap_dirty(container, pages(), &mut bitmap));
}

fn logs(device: &Device<Opaque>) {
    let mut ranges = [DeviceFeatureDmaLoggingRange::default(); 3];
    let mut bitmap = [0; 3];
    used(Device::start_dma_logging(device, any(), &mut ranges));
    used(Device::stop_dma_logging(device));
    used(Device::dma_log(device, pages(), &mut bitmap));
}

fn display(device: &Device<Opaque>, bytes: &mut [u8]) {
    let memory = black_box(PlaneMemory::DmaBuf);
    used(Device::has_planes(device, memory));
    used(Device::plane(device, memory, black_box(PlaneType::Primary)));
    used(Device::plane_dma_buf(device, any()).is_ok());
    let (reply, buffer) = bytes.split_at_mut_checked(any()).unwrap_or_default();
    if let Ok(region) = Device::region(device, any(), reply) {
        match Device::edid(device, &region) {
            Ok(edid) => {
                used(Edid::head(&edid));
                used(Edid::read(&edid, buffer));
                used(Edid::replace(&edid, buffer));
                used(Edid::set_link(&edid, any()));
            }
            Err(error) => used(error),
        }
    }
}

fn dma_buf(device: &Device<Opaque>, bytes: &mut [u8]) {
    let ranges = [RegionDmaRange::default(); 3];
    let ranges = ranges.get(..any()).unwrap_or_default();
    match Device::dma_buf(device, any(), ranges, bytes) {
        Ok(bar) => {
            used(DmaBuf::fd(&bar));
            if let Ok(ioas) = Ioas::open(Opaque) {
                used(Ioas::map_dma_buf(&ioas, &bar, any(), any(), any(), any()));
            }
        }
        Err(error) => used(error),
    }
}

fn exchanges(bytes: &mut [u8]) {
    used(ExchangeRequest::descriptor(black_box(
        ExchangeRequest::DmaBuf,
    )));
    let mut buffer = [0; MIG_STATE_LEN];
    used(Exchange::<Absent, Absent>::set_mig_state(
        &mut buffer,
        any(),
    ));
    let ranges = [RegionDmaRange::default(); 3];
    used(Exchange::<Absent, Absent>::dma_buf(
        bytes,
        any(),
        black_box(&ranges),
    ));
    let mut plane = DeviceGfxPlaneInfo::default();
    used(Exchange::<Absent, Absent>::gfx_plane(
        &mut plane,
        any(),
        any(),
    ));
    used(Exchange::<Absent, Absent>::gfx_dmabuf(&mut any()));
    let mut bitmap = [0; 3];
    let mut buffer = [0; DIRTY_BITMAP_LEN];
    used(Exchange::<Absent, Absent>::dirty_bitmap(
        &mut buffer,
        pages(),
        &mut bitmap,
    ));
    let mut buffer = [0; UNMAP_DIRTY_LEN];
    used(Exchange::<Absent, Absent>::unmap_dirty(
        &mut buffer,
        pages(),
        &mut bitmap,
    ));
    let mut buffer = [0; DMA_LOGGING_REPORT_LEN];
    used(Exchange::<Absent, Absent>::dma_logging_report(
        &mut buffer,
        pages(),
        &mut bitmap,
    ));
    let mut buffer = [0; DMA_LOGGING_START_LEN];
    let mut ranges = [DeviceFeatureDmaLoggingRange::default(); 3];
    used(Exchange::<Absent, Absent>::dma_logging_start(
        &mut buffer,
        any(),
        black_box(&mut ranges),
    ));
}
