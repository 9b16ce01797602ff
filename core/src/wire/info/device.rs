//! The reply of `VFIO_DEVICE_GET_INFO`.

use super::{InfoError, Layout, Malformed, chain, head, is_whole};
use crate::wire::abi::{self, DeviceFlags};
use crate::wire::caps::{Caps, DeviceCap};

/// A device (`struct vfio_device_info`, linux/vfio.h).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DeviceInfo<'a> {
    /// What the device is and can do.
    pub flags: DeviceFlags,
    /// How many region indexes there are; not each of them need exist.
    pub num_regions: u32,
    /// How many interrupt indexes there are; not each of them need exist.
    pub num_irqs: u32,
    /// The capabilities.
    pub caps: Caps<'a, DeviceCap<'a>>,
}

/// The structure ended with `cap_offset` before Linux 6.6, and chains began there.
const LAYOUT: Layout = Layout {
    min: 16,
    fixed: 20,
    cap_offset_end: 20,
};

impl<'a> DeviceInfo<'a> {
    /// Interprets a reply: the buffer after the call, of exactly the length that was passed.
    ///
    /// # Errors
    /// As [`super::RegionInfo::decode`].
    #[inline]
    pub fn decode(reply: &'a [u8]) -> Result<Self, InfoError<abi::DeviceInfo>> {
        let head: abi::DeviceInfo = head(reply, LAYOUT.min)?;
        if !is_whole(reply, head.argsz, LAYOUT.min)? {
            return Err(InfoError::TooSmall {
                head,
                needed: head.argsz.into(),
            });
        }
        let has_caps = head.flags.contains(DeviceFlags::CAPS);
        let offset = has_caps.then_some(head.cap_offset);
        let mut check = chain(reply, head.argsz, &LAYOUT, offset)?;
        while check.next().map_err(Malformed::Cap)?.is_some() {}
        Ok(Self {
            flags: head.flags,
            num_regions: head.num_regions,
            num_irqs: head.num_irqs,
            caps: check.caps(),
        })
    }
}
