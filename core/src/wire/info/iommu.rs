//! The reply of `VFIO_IOMMU_GET_INFO`.

use super::{InfoError, Layout, Malformed, chain, head, is_whole};
use crate::wire::abi::{self, IommuInfoFlags, IovaRange};
use crate::wire::caps::{Array, Caps, IommuCap};

/// A type1 IOMMU (`struct vfio_iommu_type1_info`, linux/vfio.h).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct IommuInfo<'a> {
    /// What the reply holds.
    pub flags: IommuInfoFlags,
    /// A bit for each size, in bytes, that a mapping is made of.
    pub iova_pgsizes: u64,
    /// The capabilities.
    pub caps: Caps<'a, IommuCap<'a>>,
}

const LAYOUT: Layout = Layout {
    min: 16,
    // `cap_offset` was the last field before Linux 6.6; where u64 is aligned to 4 bytes the
    // structure had no padding behind it.
    fixed: if cfg!(target_arch = "x86") { 20 } else { 24 },
    cap_offset_end: 20,
};

impl<'a> IommuInfo<'a> {
    /// Interprets a reply: the buffer after the call, of exactly the length that was passed.
    ///
    /// # Errors
    /// As [`super::RegionInfo::decode`].
    #[inline]
    pub fn decode(reply: &'a [u8]) -> Result<Self, InfoError<abi::IommuType1Info>> {
        let head: abi::IommuType1Info = head(reply, LAYOUT.min)?;
        if !is_whole(reply, head.argsz, LAYOUT.min)? {
            return Err(InfoError::TooSmall {
                head,
                needed: head.argsz.into(),
            });
        }
        let has_caps = head.flags.contains(IommuInfoFlags::CAPS);
        let offset = has_caps.then_some(head.cap_offset);
        let mut check = chain(reply, head.argsz, &LAYOUT, offset)?;
        while check.next().map_err(Malformed::Cap)?.is_some() {}
        Ok(Self {
            flags: head.flags,
            iova_pgsizes: head.iova_pgsizes,
            caps: check.caps(),
        })
    }

    /// Returns the IOVAs that can be mapped, where the kernel tells (Linux 5.4 and later). The end
    /// of a range belongs to it.
    #[must_use]
    pub fn iova_ranges(&self) -> Option<Array<'a, IovaRange>> {
        self.caps.iter().find_map(|cap| match cap {
            IommuCap::IovaRange(ranges) => Some(ranges),
            _ => None,
        })
    }

    /// Returns how many more mappings can be made, where the kernel tells (Linux 5.10 and later).
    #[must_use]
    pub fn dma_avail(&self) -> Option<u32> {
        self.caps.iter().find_map(|cap| match cap {
            IommuCap::DmaAvail { avail } => Some(avail),
            _ => None,
        })
    }
}
