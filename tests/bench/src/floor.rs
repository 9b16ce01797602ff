//! Opening a device with code written for nothing else: what the work itself takes.
//!
//! It is C in Rust: structures laid over one buffer, every offset checked before it is followed. It makes the same
//! checks as `vfio-core` and keeps the same things, but has no types for what it does not need, no errors that say what
//! is wrong, no buffer but its own, and no other use.

use core::ffi::{c_int, c_ulong, c_void};
use core::ptr;

use crate::replies::{BUFFER, IRQS, REGIONS};

const GET_INFO: c_ulong = 0x3b6b;
const GET_REGION_INFO: c_ulong = 0x3b6c;
const GET_IRQ_INFO: c_ulong = 0x3b6d;

/// How many sparse areas are kept in all.
const AREAS: usize = 16;

const HAS_CAPS_OF_DEVICE: u32 = 1 << 7;
const HAS_CAPS_OF_REGION: u32 = 1 << 3;

const HAS_AREAS: u32 = 1 << 0;
const HAS_TYPE: u32 = 1 << 1;
const MSIX_MAPPABLE: u32 = 1 << 2;

unsafe extern "C" {
    fn ioctl(fd: c_int, number: c_ulong, argument: *mut c_void) -> c_int;
}

/// All that the device has.
#[derive(Default)]
pub(crate) struct Device {
    flags: u32,
    pub(crate) num_regions: u32,
    pub(crate) num_irqs: u32,
    regions: [Region; REGIONS],
    irqs: [Irq; IRQS],
    areas: Areas,
}

#[derive(Default)]
struct Areas {
    len: u32,
    list: [Area; AREAS],
}

#[derive(Clone, Copy, Default)]
struct Region {
    size: u64,
    offset: u64,
    flags: u32,
    /// Which of the fields below count.
    has: u32,
    type_: u32,
    subtype: u32,
    first_area: u32,
    num_areas: u32,
}

#[derive(Clone, Copy, Default)]
#[expect(dead_code, reason = "to keep it is part of the work")]
struct Irq {
    flags: u32,
    count: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Area {
    offset: u64,
    size: u64,
}

#[repr(C, align(8))]
struct Buffer([u8; BUFFER]);

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct DeviceInfo {
    argsz: u32,
    flags: u32,
    num_regions: u32,
    num_irqs: u32,
    cap_offset: u32,
    pad: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct RegionInfo {
    argsz: u32,
    flags: u32,
    index: u32,
    cap_offset: u32,
    size: u64,
    offset: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct IrqInfo {
    argsz: u32,
    flags: u32,
    index: u32,
    count: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CapHeader {
    /// The id and the version.
    kind: u32,
    next: u32,
}

impl Device {
    /// Returns how many sparse areas it has.
    pub(crate) fn num_areas(&self) -> u32 {
        self.areas.len
    }
}

/// Opens the device into `device`.
#[inline(always)]
pub(crate) fn open(device: &mut Device) -> Option<()> {
    let mut buffer = Buffer([0; BUFFER]);
    let info = ptr::from_mut(&mut buffer).cast::<DeviceInfo>();
    let question = DeviceInfo {
        argsz: BUFFER as u32,
        ..Default::default()
    };
    // SAFETY: the buffer is aligned, and has room for the structure.
    unsafe { info.write(question) };
    // SAFETY: argsz is what the buffer has.
    if unsafe { ioctl(0, GET_INFO, info.cast()) } < 0 {
        return None;
    }
    // SAFETY: as above.
    let info = unsafe { info.read() };
    if info.argsz < 16 || info.argsz > BUFFER as u32 || info.flags & HAS_CAPS_OF_DEVICE != 0 {
        return None;
    }
    if info.num_regions > REGIONS as u32 || info.num_irqs > IRQS as u32 {
        return None;
    }
    device.flags = info.flags;
    device.areas.len = 0;
    for index in 0..info.num_regions {
        region(device, &mut buffer, index)?;
    }
    for index in 0..info.num_irqs {
        irq(device, index)?;
    }
    device.num_regions = info.num_regions;
    device.num_irqs = info.num_irqs;
    Some(())
}

#[inline(always)]
fn irq(device: &mut Device, index: u32) -> Option<()> {
    let mut info = IrqInfo {
        argsz: 16,
        index,
        ..Default::default()
    };
    // SAFETY: argsz is what the structure has.
    if unsafe { ioctl(0, GET_IRQ_INFO, ptr::from_mut(&mut info).cast()) } < 0 {
        return None;
    }
    if info.argsz != 16 || info.index != index {
        return None;
    }
    *device.irqs.get_mut(index as usize)? = Irq {
        flags: info.flags,
        count: info.count,
    };
    Some(())
}

#[inline(always)]
fn region(device: &mut Device, buffer: &mut Buffer, index: u32) -> Option<()> {
    let info = ptr::from_mut(buffer).cast::<RegionInfo>();
    let question = RegionInfo {
        argsz: BUFFER as u32,
        index,
        ..Default::default()
    };
    // SAFETY: the buffer is aligned, and has room for the structure.
    unsafe { info.write(question) };
    // SAFETY: argsz is what the buffer has.
    if unsafe { ioctl(0, GET_REGION_INFO, info.cast()) } < 0 {
        return None;
    }
    // SAFETY: as above.
    let info = unsafe { &*info };
    if info.argsz < 32 || info.argsz > BUFFER as u32 || info.index != index {
        return None;
    }
    let region = device.regions.get_mut(index as usize)?;
    region.size = info.size;
    region.offset = info.offset;
    region.flags = info.flags;
    region.has = 0;
    if info.flags & HAS_CAPS_OF_REGION == 0 {
        return Some(());
    }
    let (argsz, first) = (info.argsz, info.cap_offset);
    if first < 32 || first > argsz - 8 {
        return None;
    }
    // Most chains have one capability.
    let areas = &mut device.areas;
    match header(buffer, first) {
        CapHeader { kind, next: 0 } => {
            keep(region, areas, buffer, kind, first + 8, argsz - first - 8)
        }
        _ => chain(region, areas, buffer, argsz, first),
    }
}

/// Returns the header at `at`, which the caller checked.
#[inline(always)]
fn header(buffer: &Buffer, at: u32) -> CapHeader {
    // SAFETY: the caller's promise.
    unsafe { body(buffer, at).cast::<CapHeader>().read_unaligned() }
}

#[inline(always)]
fn body(buffer: &Buffer, at: u32) -> *const u8 {
    buffer.0.as_ptr().wrapping_add(at as usize)
}

/// Keeps what several capabilities say, from `at` to `argsz`.
#[inline(never)]
fn chain(
    region: &mut Region,
    areas: &mut Areas,
    buffer: &Buffer,
    argsz: u32,
    mut at: u32,
) -> Option<()> {
    loop {
        if at > argsz - 8 {
            return None;
        }
        let header = header(buffer, at);
        let end = match header.next {
            0 => argsz,
            next if next < at + 8 || next > argsz => return None,
            next => next,
        };
        keep(region, areas, buffer, header.kind, at + 8, end - at - 8)?;
        if header.next == 0 {
            return Some(());
        }
        at = header.next;
    }
}

/// Keeps what a capability says, whose body has `len` bytes from `at`.
#[inline(always)]
fn keep(
    region: &mut Region,
    areas: &mut Areas,
    buffer: &Buffer,
    kind: u32,
    at: u32,
    len: u32,
) -> Option<()> {
    let body = body(buffer, at);
    match kind {
        0x1_0001 => {
            if region.has & HAS_AREAS != 0 || len < 8 {
                return None;
            }
            // SAFETY: so much is in the body.
            let count = unsafe { body.cast::<u32>().read_unaligned() };
            if count > (len - 8) / 16 || count > AREAS as u32 - areas.len {
                return None;
            }
            sparse(region, areas, body.wrapping_add(8).cast(), count)
        }
        0x1_0002 => {
            if region.has & HAS_TYPE != 0 || len < 8 {
                return None;
            }
            region.has |= HAS_TYPE;
            // SAFETY: so much is in the body.
            [region.type_, region.subtype] = unsafe { body.cast::<[u32; 2]>().read_unaligned() };
            Some(())
        }
        0x1_0003 => {
            if region.has & MSIX_MAPPABLE != 0 {
                return None;
            }
            region.has |= MSIX_MAPPABLE;
            Some(())
        }
        _ => Some(()),
    }
}

/// Keeps `count` areas that lie in the buffer, and for which there is room.
#[inline(never)]
fn sparse(region: &mut Region, areas: &mut Areas, from: *const Area, count: u32) -> Option<()> {
    let first = areas.len;
    let to = areas.list.as_mut_ptr().wrapping_add(first as usize);
    let (mut last, mut backwards, mut overflows) = (0, 0, 0);
    for n in 0..count as usize {
        // SAFETY: the caller's promise.
        let area = unsafe { from.wrapping_add(n).read_unaligned() };
        // SAFETY: the caller's promise.
        unsafe { to.wrapping_add(n).write(area) };
        backwards += u32::from(area.offset < last);
        let (end, overflow) = area.offset.overflowing_add(area.size);
        overflows += u32::from(overflow);
        last = end;
    }
    if backwards | overflows != 0 || last > region.size {
        return None;
    }
    areas.len = first + count;
    region.has |= HAS_AREAS;
    region.first_area = first;
    region.num_areas = count;
    Some(())
}
