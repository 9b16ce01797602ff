//! The simulated kernel, seen by a program.

mod interrupts;
mod iommufd;
mod linux_nvme;
mod mapping;
mod memory;
mod modes;
mod regions;
mod replies;
mod script;
mod session;
mod sriov;
mod type1;

use std::ops::Range;

use vfio_core::sys::{
    Errno, Exchange, ExchangeRequest, FdRequest, NameRequest, NoIommu, Pages, Sys, ValueRequest,
};
use vfio_core::wire::abi::{
    DmaMapFlags, DmaUnmapFlags, Extension, IommuType1DmaMap, IommuType1DmaUnmap,
};
use zerocopy::IntoBytes;

use super::{CONTAINER_PATH, DmaMemory, Fd, Kernel};
use crate::model::Model;

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
    open_in(Kernel::new().with_device(NAME, model, GROUP))
}

fn open_in(kernel: Kernel) -> Opened {
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

/// What a device may do with memory.
const READ_WRITE: DmaMapFlags = DmaMapFlags::READ.union(DmaMapFlags::WRITE);

/// Returns the word for devices of the simulated kernel that no IOMMU confines.
#[expect(unsafe_code, reason = "the word is unsafe to give")]
fn acknowledged() -> NoIommu {
    // SAFETY: a simulated device reaches nothing but the pages that the simulated kernel gave
    // out, which are atomic words that it keeps for as long as they are reached.
    unsafe { NoIommu::acknowledge() }
}

/// Maps memory in a container.
#[expect(unsafe_code, reason = "the trait's method is unsafe to call")]
fn map(
    kernel: &Kernel,
    container: &Fd,
    memory: &DmaMemory,
    range: Range<usize>,
    iova: u64,
    flags: DmaMapFlags,
) -> Result<(), Errno> {
    let mut request = IommuType1DmaMap {
        flags,
        iova,
        ..Default::default()
    };
    let exchange = Exchange::map(ExchangeRequest::MapDma, request.as_mut_bytes(), range)?;
    // SAFETY: the simulated kernel keeps what is mapped of its memory.
    unsafe { kernel.exchange_memory(container, memory, exchange) }.map(drop)
}

/// Unmaps in a container.
fn unmap(
    kernel: &Kernel,
    container: &Fd,
    iova: u64,
    size: u64,
    flags: DmaUnmapFlags,
) -> Result<u64, Errno> {
    let mut request = IommuType1DmaUnmap {
        flags,
        iova,
        size,
        ..Default::default()
    };
    let exchange = Exchange::new(ExchangeRequest::UnmapDma, request.as_mut_bytes())?;
    kernel.exchange(container, exchange)?;
    Ok(request.size)
}

/// Sets the low byte of the command register: memory decoding and bus mastering.
fn set_command(kernel: &Kernel, device: &Fd, command: u8) {
    assert_eq!(kernel.pwrite(device, &[command], (7 << 40) + 4), Ok(1));
}

/// Writes a register of BAR 0.
fn poke(kernel: &Kernel, device: &Fd, at: u64, value: &[u8]) {
    assert_eq!(kernel.pwrite(device, value, at), Ok(value.len()));
}
