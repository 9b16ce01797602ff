//! Containers, groups and devices.

use core::hint::black_box;

use vfio_core::device::Device;
use vfio_core::open::container::{Container, Group};
use vfio_core::sys::{FdRequest, NameRequest, ValueRequest};
use vfio_core::wire::abi::Extension;
use vfio_freestanding::opaque::{Opaque, OpaqueFd, OpaqueMemory, any, used};

use crate::{info, query};

pub(crate) fn all(bytes: &mut [u8]) {
    device(&Device::new(Opaque, OpaqueFd), bytes);
    match Container::open(Opaque) {
        Ok(container) => opened(&container, bytes),
        Err(error) => used(error),
    }
    used(Container::open_at(Opaque, black_box(c"/dev/iommu")).is_ok());
    used(Container::connect(Opaque, black_box(c"socket")).is_ok());
    used(ValueRequest::number(black_box(ValueRequest::SetIommu)));
    used(ValueRequest::argument(black_box(ValueRequest::SetIommu), any()).is_ok());
    used(FdRequest::number(black_box(FdRequest::SetContainer)));
    used(NameRequest::number(black_box(NameRequest::GetDeviceFd)));
}

fn opened(container: &Container<Opaque>, bytes: &mut [u8]) {
    let iommu: Extension = any();
    used(Container::has(container, iommu));
    used(Container::set_iommu(container, iommu));
    query::asked(Container::iommu_info(container, bytes), info::iommu);
    // SAFETY: the kernel maps nothing.
    used(unsafe { Container::map(container, &OpaqueMemory, any()..any(), any(), any()) });
    used(Container::unmap(container, any(), any()));
    used(Container::unmap_all(container));
    used(Container::served(container, black_box(c"edu")).is_ok());
    match Container::attach(container, any()) {
        Ok(group) => {
            let name = black_box(c"0000:00:05.0");
            used(Group::device_with_token(&group, name, any()).is_ok());
            match Group::device(&group, name) {
                Ok(opened) => device(&opened, bytes),
                Err(error) => used(error),
            }
        }
        Err(error) => used(error),
    }
}

fn device(device: &Device<Opaque>, bytes: &mut [u8]) {
    query::asked(Device::info(device, bytes), info::device);
    query::asked(Device::region(device, any(), bytes), info::region);
    query::asked(Device::irq(device, any()), used);
    query::asked(Device::hot_reset_info(device, bytes), info::hot_reset);
    used(Device::read(device, any(), any(), bytes));
    used(Device::write(device, any(), any(), bytes));
    used(Device::reset(device));
}
