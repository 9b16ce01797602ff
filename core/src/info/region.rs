//! The reply of `VFIO_DEVICE_GET_REGION_INFO`.

use super::{InfoError, Layout, Malformed, chain, head, is_whole};
use crate::abi::{self, RegionFlags};
use crate::caps::{Caps, Check, RegionCap, RegionKind, SparseMmap};

/// A region of a device (`struct vfio_region_info`, linux/vfio.h).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RegionInfo<'a> {
    /// What may be done with the region.
    pub flags: RegionFlags,
    /// The index that was asked for.
    pub index: u32,
    /// Bytes.
    pub size: u64,
    /// Where the region lies in the device's file, in bytes: an opaque number.
    pub offset: u64,
    /// The capabilities.
    pub caps: Caps<'a, RegionCap<'a>>,
}

/// Which bytes of a region may be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Mappable<'a> {
    /// None.
    Nothing,
    /// All.
    Everything,
    /// These areas.
    Areas(SparseMmap<'a>),
}

const LAYOUT: Layout = Layout {
    min: 32,
    fixed: 32,
    cap_offset_end: 16,
};

impl<'a> RegionInfo<'a> {
    /// Interprets a reply: the buffer after the call, of exactly the length that was passed.
    ///
    /// # Errors
    /// [`InfoError::TooSmall`] with the fixed structure where argsz is larger than the buffer,
    /// whatever the flags say: a vfio-user server leaves CAPS out of a reply that is too short.
    /// [`InfoError::Malformed`] where the reply can't be trusted.
    #[inline]
    pub fn decode(reply: &'a [u8]) -> Result<Self, InfoError<abi::RegionInfo>> {
        let head = Self::head(reply)?;
        let mut check = RegionCheck::start(reply, &head)?;
        while check.next()?.is_some() {}
        Ok(Self {
            flags: head.flags,
            index: head.index,
            size: head.size,
            offset: head.offset,
            caps: check.caps.caps(),
        })
    }

    /// The fixed structure of a reply that is there as a whole.
    #[inline(always)]
    pub(crate) fn head(reply: &[u8]) -> Result<abi::RegionInfo, InfoError<abi::RegionInfo>> {
        let head: abi::RegionInfo = head(reply, LAYOUT.min)?;
        match is_whole(reply, head.argsz, LAYOUT.min)? {
            true => Ok(head),
            false => Err(InfoError::TooSmall {
                head,
                needed: head.argsz.into(),
            }),
        }
    }

    /// What the region is, where it says so: needed from index 9 on.
    #[must_use]
    pub fn kind(&self) -> Option<RegionKind> {
        self.caps.iter().find_map(|cap| match cap {
            RegionCap::Type(kind) => Some(kind),
            _ => None,
        })
    }

    /// Whether the MSI-X table in this region may be mapped with the rest.
    #[must_use]
    pub fn is_msix_mappable(&self) -> bool {
        self.caps
            .iter()
            .any(|cap| matches!(cap, RegionCap::MsixMappable))
    }

    /// Which bytes may be mapped.
    ///
    /// Nothing where sparse areas are announced in a version that is not known here: what they
    /// leave out must not be mapped.
    #[must_use]
    pub fn mappable(&self) -> Mappable<'a> {
        if !self.flags.contains(RegionFlags::MMAP) {
            return Mappable::Nothing;
        }
        let mut mappable = Mappable::Everything;
        for cap in self.caps {
            match cap {
                RegionCap::SparseMmap(areas) => mappable = Mappable::Areas(areas),
                RegionCap::Unknown(cap) if cap.id == abi::RegionCapId::SPARSE_MMAP.0 => {
                    return Mappable::Nothing;
                }
                _ => (),
            }
        }
        mappable
    }
}

/// The capabilities of a region while they are checked, one after the other.
pub(crate) struct RegionCheck<'a> {
    caps: Check<'a, RegionCap<'a>>,
    /// The region's size in bytes.
    size: u64,
}

impl<'a> RegionCheck<'a> {
    /// Starts to check the capabilities that belong to `head`.
    #[inline(always)]
    pub(crate) fn start(reply: &'a [u8], head: &abi::RegionInfo) -> Result<Self, Malformed> {
        let has_caps = head.flags.contains(RegionFlags::CAPS);
        let offset = has_caps.then_some(head.cap_offset);
        Ok(Self {
            caps: chain(reply, head.argsz, &LAYOUT, offset)?,
            size: head.size,
        })
    }

    /// The next capability, checked; `None` at the end.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Result<Option<RegionCap<'a>>, Malformed> {
        let Some((offset, cap)) = self.caps.next()? else {
            return Ok(None);
        };
        if let RegionCap::SparseMmap(sparse) = cap {
            sparse
                .check(self.size)
                .map_err(|error| Malformed::Area { offset, error })?;
        }
        Ok(Some(cap))
    }
}
