//! Opening a device with `vfio-core`.

use core::ffi::{CStr, c_int, c_ulong, c_void};
use core::hint::black_box;

use vfio_core::device::{Device, Inventory, InventoryError};
use vfio_core::query;
use vfio_core::sys::{
    Absent, Errno, FdRequest, InfoRequest, NameRequest, Sys, ValueRequest, put_argsz,
};

use crate::replies::{BUFFER, IRQS, REGIONS};

/// All that the device has.
pub(crate) type Whole = Inventory<REGIONS, IRQS, 16>;

/// Room for a reply, apart from the stack.
pub(crate) type Buffer = [u8; BUFFER];

unsafe extern "C" {
    fn ioctl(fd: c_int, number: c_ulong, argument: *mut c_void) -> c_int;
}

/// The shim over the replaced `ioctl`.
#[derive(Clone, Copy)]
pub(crate) struct Replaced;

impl Sys for Replaced {
    type Fd = c_int;
    type Mapping = Absent;
    type Memory = Absent;
    type Event = Absent;

    fn page_size(&self) -> usize {
        4096
    }

    fn open(&self, _: &CStr) -> Result<c_int, Errno> {
        Err(Errno::ENOSYS)
    }

    #[inline]
    fn ioctl_info(&self, fd: &c_int, request: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
        put_argsz(reply)?;
        // SAFETY: no more is written than argsz says, and that is the length of `reply`.
        let answer = unsafe { ioctl(*fd, request.number().into(), reply.as_mut_ptr().cast()) };
        // The replaced `ioctl` has no errno; for it, a failure is an index that is not there.
        if answer < 0 {
            Err(Errno::EINVAL)
        } else {
            Ok(())
        }
    }

    fn ioctl_value(&self, _: &c_int, _: ValueRequest, _: u32) -> Result<u32, Errno> {
        Err(Errno::ENOSYS)
    }

    fn ioctl_fd(&self, _: &c_int, _: FdRequest, _: &c_int) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    fn ioctl_name(&self, _: &c_int, _: NameRequest, _: &CStr) -> Result<c_int, Errno> {
        Err(Errno::ENOSYS)
    }

    fn pread(&self, _: &c_int, _: &mut [u8], _: u64) -> Result<usize, Errno> {
        Err(Errno::ENOSYS)
    }

    fn pwrite(&self, _: &c_int, _: &[u8], _: u64) -> Result<usize, Errno> {
        Err(Errno::ENOSYS)
    }
}

/// Opens the device.
#[inline(always)]
pub(crate) fn open(device: &Device<Replaced>) -> Result<Whole, InventoryError> {
    let mut buffer: Buffer = [0; BUFFER];
    device.inventory(&mut buffer)
}

/// Opens the device, with what it has put in place.
#[inline(always)]
pub(crate) fn open_in_place(
    device: &Device<Replaced>,
    whole: &mut Whole,
) -> Result<(), InventoryError> {
    let mut buffer: Buffer = [0; BUFFER];
    device.inventory_into(&mut buffer, whole)
}

/// A question with its answer gone through; the buffer is not on the stack.
pub(crate) type Question = extern "C" fn(&mut Buffer);

/// Every question.
pub(crate) const QUESTIONS: [(&str, Question); 5] = [
    ("device", device),
    ("region", region),
    ("irq", irq),
    ("iommu", iommu),
    ("hot reset", hot_reset),
];

extern "C" fn device(buffer: &mut Buffer) {
    if let Ok(info) = query::device(&Replaced, &0, buffer) {
        info.caps.iter().for_each(used);
    }
}

extern "C" fn region(buffer: &mut Buffer) {
    if let Ok(info) = query::region(&Replaced, &0, 0, buffer) {
        info.caps.iter().for_each(used);
    }
}

extern "C" fn irq(_: &mut Buffer) {
    if let Ok(info) = query::irq(&Replaced, &0, 0) {
        used(info);
    }
}

extern "C" fn iommu(buffer: &mut Buffer) {
    if let Ok(info) = query::iommu(&Replaced, &0, buffer) {
        info.caps.iter().for_each(used);
    }
}

extern "C" fn hot_reset(buffer: &mut Buffer) {
    if let Ok(info) = query::hot_reset(&Replaced, &0, buffer) {
        info.devices.iter().for_each(used);
    }
}

fn used<T>(value: T) {
    let _ = black_box(value);
}
