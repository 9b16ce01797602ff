//! The reply of `VFIO_DEVICE_GET_REGION_INFO`.

use super::{InfoError, Layout, Malformed, chain, head, is_whole};
use crate::wire::abi::{self, RegionFlags};
use crate::wire::caps::{Caps, RegionCap, RegionKind, SparseMmap};

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
        let head: abi::RegionInfo = head(reply, LAYOUT.min)?;
        if !is_whole(reply, head.argsz, LAYOUT.min)? {
            return Err(InfoError::TooSmall {
                head,
                needed: head.argsz.into(),
            });
        }
        let has_caps = head.flags.contains(RegionFlags::CAPS);
        let cap_offset = has_caps.then_some(head.cap_offset);
        let mut check = chain(reply, head.argsz, &LAYOUT, cap_offset)?;
        while let Some((offset, cap)) = check.next().map_err(Malformed::Cap)? {
            if let RegionCap::SparseMmap(sparse) = cap {
                sparse
                    .check(head.size)
                    .map_err(|error| Malformed::Area { offset, error })?;
            }
        }
        Ok(Self {
            flags: head.flags,
            index: head.index,
            size: head.size,
            offset: head.offset,
            caps: check.caps(),
        })
    }

    /// Returns the kind of the region, where the reply says it: needed from index 9 on.
    #[must_use]
    pub fn kind(&self) -> Option<RegionKind> {
        self.caps.iter().find_map(|cap| match cap {
            RegionCap::Type(kind) => Some(kind),
            _ => None,
        })
    }

    /// Tells whether the MSI-X table in this region may be mapped with the rest.
    #[must_use]
    pub fn is_msix_mappable(&self) -> bool {
        self.caps
            .iter()
            .any(|cap| matches!(cap, RegionCap::MsixMappable))
    }

    /// Returns which bytes may be mapped.
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
