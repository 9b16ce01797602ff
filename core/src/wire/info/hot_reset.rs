//! The reply of `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO`.

use zerocopy::FromBytes;

use super::{InfoError, Malformed, is_whole};
use crate::wire::abi::{self, HotResetFlags, PciDependentDevice};
use crate::wire::caps::Array;

/// The devices that a hot reset takes along (`struct vfio_pci_hot_reset_info`, linux/vfio.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct HotResetInfo<'a> {
    /// Whether the devices are named by group or by device id, and whether all are owned.
    pub flags: HotResetFlags,
    /// The devices.
    pub devices: Array<'a, PciDependentDevice>,
}

const MIN: u32 = 12;

impl<'a> HotResetInfo<'a> {
    /// Interprets a reply: the buffer after the call, of exactly the length that was passed.
    ///
    /// The kernel leaves argsz as it was and tells by the count how long the list is; a call
    /// that failed with `ENOSPC` has filled in the count, too.
    ///
    /// # Errors
    /// As [`super::RegionInfo::decode`].
    #[inline]
    pub fn decode(reply: &'a [u8]) -> Result<Self, InfoError<abi::PciHotResetInfo>> {
        let Ok((head, _)) = abi::PciHotResetInfo::read_from_prefix(reply) else {
            let len = u32::try_from(reply.len()).unwrap_or(u32::MAX);
            return Err(Malformed::Truncated { len, min: MIN }.into());
        };
        // A count of 32 bits, 8 bytes each: it can't overflow.
        let listed = u64::from(head.count)
            .saturating_mul(8)
            .saturating_add(u64::from(MIN));
        let needed = listed.max(head.argsz.into());
        if !is_whole(reply, head.argsz, MIN)? {
            return Err(InfoError::TooSmall { head, needed });
        }
        let devices = usize::try_from(head.argsz)
            .ok()
            .and_then(|len| reply.get(12..len))
            .and_then(|list| Array::from_prefix(list, head.count));
        match devices {
            Some(devices) => Ok(Self {
                flags: head.flags,
                devices,
            }),
            // A larger buffer helps only where the list ends past this one.
            None if usize::try_from(needed).is_ok_and(|needed| needed <= reply.len()) => {
                Err(Malformed::DevicesOutOfBounds {
                    count: head.count,
                    argsz: head.argsz,
                }
                .into())
            }
            None => Err(InfoError::TooSmall { head, needed }),
        }
    }
}
