//! The simulated kernel, seen by a program.

mod regions;
mod replies;
mod script;
mod session;

use vfio_core::abi::Extension;
use vfio_core::sys::{Errno, FdRequest, NameRequest, Sys, ValueRequest};

use super::{CONTAINER_PATH, Fd, Kernel, Model};

const NAME: &str = "0000:01:00.0";
const C_NAME: &std::ffi::CStr = c"0000:01:00.0";
const GROUP: u32 = 3;

/// A kernel with one device, its container with an IOMMU, and the open files.
struct Opened {
    kernel: Kernel,
    container: Fd,
    group: Fd,
    device: Fd,
}

fn open(model: Model) -> Opened {
    let kernel = Kernel::new().with_device(NAME, model, GROUP);
    let container = kernel.open(CONTAINER_PATH).unwrap();
    let group = kernel.open(&Kernel::group_path(GROUP)).unwrap();
    attach(&kernel, &group, &container).unwrap();
    set_iommu(&kernel, &container).unwrap();
    let device = open_device(&kernel, &group).unwrap();
    Opened {
        kernel,
        container,
        group,
        device,
    }
}

fn attach(kernel: &Kernel, group: &Fd, container: &Fd) -> Result<(), Errno> {
    kernel.ioctl_fd(group, FdRequest::SetContainer, container)
}

fn detach(kernel: &Kernel, group: &Fd) -> Result<u32, Errno> {
    kernel.ioctl_value(group, ValueRequest::UnsetContainer, 0)
}

fn set_iommu(kernel: &Kernel, container: &Fd) -> Result<u32, Errno> {
    let type1v2 = Extension::TYPE1V2_IOMMU.0;
    kernel.ioctl_value(container, ValueRequest::SetIommu, type1v2)
}

fn open_device(kernel: &Kernel, group: &Fd) -> Result<Fd, Errno> {
    kernel.ioctl_name(group, NameRequest::GetDeviceFd, C_NAME)
}
