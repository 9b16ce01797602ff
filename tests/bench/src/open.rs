//! Opening a device with `vfio-core`.

use core::ffi::{CStr, c_int, c_ulong, c_void};
use core::hint::black_box;

use vfio_core::device::Device;
use vfio_core::query::{self, QueryError};
use vfio_core::sys::{
    Absent, Errno, FdRequest, InfoRequest, NameRequest, Sys, ValueRequest, put_argsz,
};
use vfio_core::wire::abi::{DeviceFlags, RegionFlags, RegionSparseMmapArea};
use vfio_core::wire::caps::{RegionCap, RegionKind, SparseMmap};
use vfio_core::wire::info::{IrqInfo, RegionInfo};

use crate::replies::{BUFFER, IRQS, REGIONS};

/// All that the device has: what a program keeps of it that knows the device's limits.
#[derive(Default)]
pub(crate) struct Whole {
    flags: DeviceFlags,
    pub(crate) regions: [Option<Region>; REGIONS],
    pub(crate) irqs: [Option<IrqInfo>; IRQS],
    areas: [RegionSparseMmapArea; 16],
    areas_len: usize,
}

/// What is kept of a region.
#[derive(Clone, Copy)]
pub(crate) struct Region {
    pub(crate) flags: RegionFlags,
    pub(crate) size: u64,
    pub(crate) offset: u64,
    pub(crate) kind: Option<RegionKind>,
    pub(crate) is_msix_mappable: bool,
    /// Its sparse areas, where it has a list of them.
    pub(crate) areas: Option<(usize, usize)>,
}

/// Why the device could not be opened; nobody looks.
pub(crate) struct Failed;

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

impl Whole {
    /// Keeps a region, its sparse areas behind those of the others.
    #[inline(always)]
    fn keep(&mut self, index: u32, info: &RegionInfo<'_>) -> Option<()> {
        let mut region = Region {
            flags: info.flags,
            size: info.size,
            offset: info.offset,
            kind: None,
            is_msix_mappable: false,
            areas: None,
        };
        for cap in info.caps {
            match cap {
                RegionCap::SparseMmap(sparse) => region.areas = Some(self.keep_areas(&sparse)?),
                RegionCap::Type(kind) => region.kind = Some(kind),
                RegionCap::MsixMappable => region.is_msix_mappable = true,
                _ => (),
            }
        }
        *self.regions.get_mut(usize::try_from(index).ok()?)? = Some(region);
        Some(())
    }

    /// Keeps the areas of a region, and says where.
    fn keep_areas(&mut self, sparse: &SparseMmap<'_>) -> Option<(usize, usize)> {
        let start = self.areas_len;
        let end = start.checked_add(sparse.areas.len())?;
        let room = self.areas.get_mut(start..end)?;
        room.iter_mut()
            .zip(sparse.areas.iter())
            .for_each(|(slot, area)| *slot = area);
        self.areas_len = end;
        Some((start, end))
    }
}

/// Opens the device.
#[inline(always)]
pub(crate) fn open(device: &Device<Replaced>, whole: &mut Whole) -> Result<(), Failed> {
    let mut buffer: Buffer = [0; BUFFER];
    let info = device.info(&mut buffer).map_err(|_| Failed)?;
    whole.flags = info.flags;
    let (num_regions, num_irqs) = (info.num_regions, info.num_irqs);
    for index in 0..num_regions {
        match device.region(index, &mut buffer) {
            Ok(region) => whole.keep(index, &region).ok_or(Failed)?,
            Err(QueryError::Errno(Errno::EINVAL)) => (),
            Err(_) => return Err(Failed),
        }
    }
    for index in 0..num_irqs {
        let slot = usize::try_from(index).ok();
        let slot = slot
            .and_then(|index| whole.irqs.get_mut(index))
            .ok_or(Failed)?;
        match device.irq(index) {
            Ok(irq) => *slot = Some(irq),
            Err(QueryError::Errno(Errno::EINVAL)) => (),
            Err(_) => return Err(Failed),
        }
    }
    Ok(())
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
