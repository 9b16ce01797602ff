//! The reply of `VFIO_DEVICE_GET_IRQ_INFO`.

use super::{InfoError, head, is_whole};
use crate::wire::abi::{self, IrqFlags};

/// An interrupt index of a device (`struct vfio_irq_info`, linux/vfio.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct IrqInfo {
    /// How the interrupts are signalled and masked.
    pub flags: IrqFlags,
    /// The index that was asked for.
    pub index: u32,
    /// How many interrupts the index has; 0 where it is not there.
    pub count: u32,
}

const MIN: u32 = 16;

impl IrqInfo {
    /// Interprets a reply: the buffer after the call, of exactly the length that was passed.
    ///
    /// # Errors
    /// As [`super::RegionInfo::decode`].
    #[inline]
    pub fn decode(reply: &[u8]) -> Result<Self, InfoError<abi::IrqInfo>> {
        let head: abi::IrqInfo = head(reply, MIN)?;
        if is_whole(reply, head.argsz, MIN)? {
            Ok(Self {
                flags: head.flags,
                index: head.index,
                count: head.count,
            })
        } else {
            Err(InfoError::TooSmall {
                head,
                needed: head.argsz.into(),
            })
        }
    }
}
