//! Opening a device with code written for nothing else: what the work itself takes.
//!
//! It makes the same checks as `vfio-core` and keeps the same things, but has no types for what it does not need, no
//! errors that say what is wrong, and no other use.

use core::ffi::{c_int, c_ulong, c_void};
use core::ptr;

use crate::replies::{BUFFER, IRQS, REGIONS};

const GET_INFO: c_ulong = 0x3b6b;
const GET_REGION_INFO: c_ulong = 0x3b6c;
const GET_IRQ_INFO: c_ulong = 0x3b6d;

/// How many sparse areas are kept in all.
const AREAS: usize = 16;

unsafe extern "C" {
    fn ioctl(fd: c_int, number: c_ulong, argument: *mut c_void) -> c_int;
}

/// All that the device has.
#[derive(Default)]
pub(crate) struct Device {
    flags: u32,
    pub(crate) num_regions: usize,
    pub(crate) num_irqs: usize,
    regions: [Region; REGIONS],
    irqs: [(u32, u32); IRQS],
    pub(crate) num_areas: usize,
    areas: [(u64, u64); AREAS],
}

#[derive(Clone, Copy, Default)]
#[expect(dead_code, reason = "to keep it is part of the work")]
struct Region {
    flags: u32,
    size: u64,
    offset: u64,
    kind: Option<(u32, u32)>,
    msix_mappable: bool,
    areas: Option<(usize, usize)>,
}

/// Opens the device into `device`.
#[inline(always)]
pub(crate) fn open(device: &mut Device) -> Option<()> {
    let mut buffer = [0_u8; BUFFER];
    ask(&mut buffer, GET_INFO, 24, 0)?;
    let argsz = word(&buffer, 0)?;
    let (flags, regions, irqs) = (word(&buffer, 4)?, word(&buffer, 8)?, word(&buffer, 12)?);
    if !(16..=BUFFER as u32).contains(&argsz) || flags & 1 << 7 != 0 {
        return None;
    }
    if regions as usize > REGIONS || irqs as usize > IRQS {
        return None;
    }
    device.flags = flags;
    device.num_areas = 0;
    for index in 0..regions {
        let region = region(&mut buffer, index, &mut device.areas, &mut device.num_areas)?;
        *device.regions.get_mut(index as usize)? = region;
    }
    for index in 0..irqs {
        let mut buffer = [0_u8; 16];
        ask(&mut buffer, GET_IRQ_INFO, 16, index)?;
        if word(&buffer, 0)? != 16 || word(&buffer, 8)? != index {
            return None;
        }
        *device.irqs.get_mut(index as usize)? = (word(&buffer, 4)?, word(&buffer, 12)?);
    }
    device.num_regions = regions as usize;
    device.num_irqs = irqs as usize;
    Some(())
}

/// Asks for what has `index`, of which `fixed` bytes are cleared before.
#[inline(always)]
fn ask(buffer: &mut [u8], number: c_ulong, fixed: usize, index: u32) -> Option<()> {
    buffer.get_mut(..fixed)?.fill(0);
    let argsz = buffer.len() as u32;
    *buffer.get_mut(..4)?.first_chunk_mut()? = argsz.to_ne_bytes();
    *buffer.get_mut(8..12)?.first_chunk_mut()? = index.to_ne_bytes();
    // SAFETY: no more is written than argsz says, and that is the length of `buffer`.
    let answer = unsafe { ioctl(0, number, ptr::from_mut(buffer).cast()) };
    (answer >= 0).then_some(())
}

#[inline(always)]
fn region(
    buffer: &mut [u8; BUFFER],
    index: u32,
    areas: &mut [(u64, u64); AREAS],
    num_areas: &mut usize,
) -> Option<Region> {
    ask(buffer, GET_REGION_INFO, 32, index)?;
    let (argsz, flags) = (word(buffer, 0)?, word(buffer, 4)?);
    if word(buffer, 8)? != index || argsz < 32 {
        return None;
    }
    let reply = buffer.get(..argsz as usize)?;
    let mut region = Region {
        flags,
        size: long(reply, 16)?,
        offset: long(reply, 24)?,
        ..Region::default()
    };
    if flags & 1 << 3 == 0 {
        return Some(region);
    }
    let mut at = word(reply, 12)?;
    if at < 32 {
        return None;
    }
    let mut seen = 0;
    loop {
        let (id, next) = (word(reply, at as usize)?, word(reply, at as usize + 4)?);
        let end = match next {
            0 => argsz,
            next if next >= at + 8 && next <= argsz => next,
            _ => return None,
        };
        let body = reply.get(at as usize + 8..end as usize)?;
        match id {
            // Version 1 of sparse mmap.
            0x1_0001 => {
                if seen & 1 != 0 {
                    return None;
                }
                seen |= 1;
                let count = word(body, 0)? as usize;
                let list = body.get(8..)?.get(..count.checked_mul(16)?)?;
                let first = *num_areas;
                let (mut last, mut bad) = (0, false);
                for (from, to) in list
                    .chunks_exact(16)
                    .zip(areas.get_mut(first..first + count)?)
                {
                    let (offset, size) = (long(from, 0)?, long(from, 8)?);
                    let (end, overflow) = offset.overflowing_add(size);
                    bad |= overflow | (offset < last);
                    last = end;
                    *to = (offset, size);
                }
                if bad || last > region.size {
                    return None;
                }
                *num_areas += count;
                region.areas = Some((first, first + count));
            }
            0x1_0002 => {
                if seen & 2 != 0 {
                    return None;
                }
                seen |= 2;
                region.kind = Some((word(body, 0)?, word(body, 4)?));
            }
            0x1_0003 => {
                if seen & 4 != 0 {
                    return None;
                }
                seen |= 4;
                region.msix_mappable = true;
            }
            _ => (),
        }
        if next == 0 {
            return Some(region);
        }
        at = next;
    }
}

#[inline(always)]
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

#[inline(always)]
fn long(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_ne_bytes(*bytes))
}
