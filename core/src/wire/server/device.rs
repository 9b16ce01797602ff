//! The ioctls of a device.

use zerocopy::IntoBytes;

use super::{Dialect, Placed, place, put, request};
use crate::wire::abi::{
    DeviceFlags, DeviceInfo, HotResetFlags, IrqFlags, IrqInfo, PciDependentDevice, PciHotResetInfo,
    RegionFlags, RegionInfo,
};
use crate::wire::caps::{DeviceCap, RegionCap};
use crate::wire::errno::Errno;
use crate::wire::request::InfoRequest;

/// A device to answer for.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DeviceReply<'a> {
    /// Its flags; CAPS is set where there are capabilities.
    pub flags: DeviceFlags,
    /// Its capabilities.
    pub caps: &'a [DeviceCap<'a>],
    /// Its regions by index; an index without one answers `EINVAL`.
    pub regions: &'a [Option<RegionReply<'a>>],
    /// Its interrupts by index; an index without one answers `EINVAL`.
    pub irqs: &'a [Option<IrqReply>],
    /// What a hot reset takes along; a device on the root bus has none and answers `ENODEV`.
    pub hot_reset: Option<HotReset<'a>>,
    /// The kernel to answer like.
    pub dialect: Dialect,
}

/// A region to answer for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RegionReply<'a> {
    /// Its flags; CAPS is set where there are capabilities.
    pub flags: RegionFlags,
    /// Bytes.
    pub size: u64,
    /// Where the region lies in the device's file, in bytes.
    pub offset: u64,
    /// Its capabilities.
    pub caps: &'a [RegionCap<'a>],
}

/// An interrupt index to answer for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct IrqReply {
    /// Its flags.
    pub flags: IrqFlags,
    /// How many interrupts it has.
    pub count: u32,
}

/// A set of devices that are reset together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct HotReset<'a> {
    /// How the devices are named.
    pub flags: HotResetFlags,
    /// The devices.
    pub devices: &'a [PciDependentDevice],
}

impl DeviceReply<'_> {
    /// Answers an INFO ioctl on the device.
    ///
    /// # Errors
    /// What the kernel returns: `EINVAL` for a reply shorter than the structure and for an index
    /// that is not there, `ENODEV` and `ENOSPC` for hot-reset information that does not exist or
    /// does not fit, `ENOTTY` for a request that is not a device's.
    pub fn answer(&self, asked: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
        match asked {
            InfoRequest::Device => self.info(reply),
            InfoRequest::Region => self.region(reply),
            InfoRequest::Irq => self.irq(reply),
            InfoRequest::PciHotReset => self.hot_reset(reply),
            InfoRequest::Iommu | InfoRequest::GroupStatus => Err(Errno::ENOTTY),
        }
    }

    fn info(&self, reply: &mut [u8]) -> Result<(), Errno> {
        let mut info = DeviceInfo {
            argsz: request::<DeviceInfo>(reply, 16)?.argsz,
            flags: self.flags,
            num_regions: count(self.regions.len())?,
            num_irqs: count(self.irqs.len())?,
            ..Default::default()
        };
        if !self.caps.is_empty() {
            info.flags |= DeviceFlags::CAPS;
            match place(
                self.caps,
                reply,
                self.dialect.device_fixed,
                self.dialect.align,
            )? {
                Placed::At(offset) => info.cap_offset = offset,
                Placed::Needs(len) => info.argsz = len,
            }
        }
        put(reply, &info, self.dialect.device_written)
    }

    fn region(&self, reply: &mut [u8]) -> Result<(), Errno> {
        // What is not said below is echoed, the caller's cap_offset included.
        let mut info = request::<RegionInfo>(reply, 32)?;
        let region = at(self.regions, info.index).ok_or(Errno::EINVAL)?;
        info.flags = region.flags;
        info.size = region.size;
        info.offset = region.offset;
        if !region.caps.is_empty() {
            info.flags |= RegionFlags::CAPS;
            match place(region.caps, reply, 32, self.dialect.align)? {
                Placed::At(offset) => info.cap_offset = offset,
                Placed::Needs(len) => {
                    info.argsz = len;
                    info.cap_offset = 0;
                }
            }
        }
        put(reply, &info, 32)
    }

    fn irq(&self, reply: &mut [u8]) -> Result<(), Errno> {
        let mut info = request::<IrqInfo>(reply, 16)?;
        let irq = at(self.irqs, info.index).ok_or(Errno::EINVAL)?;
        if self.dialect.irq_flags_written {
            info.flags = irq.flags;
        }
        info.count = irq.count;
        put(reply, &info, 16)
    }

    fn hot_reset(&self, reply: &mut [u8]) -> Result<(), Errno> {
        if !self.dialect.knows_hot_reset {
            return Err(Errno::ENOTTY);
        }
        let mut info = request::<PciHotResetInfo>(reply, 12)?;
        let set = self.hot_reset.ok_or(Errno::ENODEV)?;
        info.flags = set.flags;
        info.count = count(set.devices.len())?;
        put(reply, &info, 12)?;
        let list = set.devices.as_bytes();
        let room = reply
            .get_mut(12..)
            .and_then(|rest| rest.get_mut(..list.len()));
        let room = room.ok_or(Errno::ENOSPC)?;
        room.iter_mut().zip(list).for_each(|(to, from)| *to = *from);
        Ok(())
    }
}

/// Returns a number of indexes as the ABI counts them.
fn count(len: usize) -> Result<u32, Errno> {
    u32::try_from(len).map_err(|_| Errno::EINVAL)
}

/// Returns the entry of an index.
fn at<T: Copy>(list: &[Option<T>], index: u32) -> Option<T> {
    usize::try_from(index)
        .ok()
        .and_then(|index| list.get(index).copied().flatten())
}
