//! Regions in reach of register accesses.

#[expect(unsafe_code, reason = "the trait is unsafe to implement")]
mod bar;
#[expect(unsafe_code, reason = "the trait is unsafe to implement")]
mod trapped;
#[expect(unsafe_code, reason = "the trait is unsafe to implement")]
mod whole;

pub use bar::MappedRegion;
pub use trapped::TrappedRegion;
pub use whole::{WholeError, WholeRegion};

use core::fmt;

use crate::device::coverage::{self, Coverage};
use crate::device::{Device, DeviceHandle};
use crate::mmio::{Access as _, Permission, Protection, Window};
use crate::sys::{Errno, Span, Sys};
use crate::wire::abi::RegionFlags;
use crate::wire::info::RegionInfo;

/// A region that can't be brought into reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RegionError {
    /// The region's flags don't permit it.
    NotPermitted {
        /// The flags.
        flags: RegionFlags,
    },
    /// The stretch must be trapped, or is none of the region's.
    NotMappable {
        /// Where it starts, in bytes from the start of the region.
        offset: u64,
    },
    /// The stretch does not lie in the region.
    OutOfBounds {
        /// Where it starts, in bytes from the start of the region.
        offset: u64,
        /// Its length in bytes.
        len: usize,
    },
    /// The region is longer than this host's addresses, or its end overflows.
    TooLong,
    /// The kernel refuses to map it.
    Map(Errno),
}

impl<S: Sys> Device<S> {
    /// Returns the stretches of a region on this host: what can be mapped, and what must be
    /// trapped.
    pub fn coverage<'a>(&self, region: &RegionInfo<'a>) -> Coverage<'a> {
        Coverage::new(region, u64::try_from(self.sys().page_size()).unwrap_or(0))
    }

    /// Maps the stretch of `region` that starts at `offset` (bytes), one of
    /// [`Device::coverage`].
    ///
    /// # Errors
    /// [`RegionError`]
    pub fn map<P: Permission>(
        &self,
        region: &RegionInfo<'_>,
        offset: u64,
    ) -> Result<Window<MappedRegion<&Self>, P>, RegionError> {
        MappedRegion::map(self, region, offset)
    }

    /// Reaches a whole region by system calls; slow, and right for any region.
    ///
    /// # Errors
    /// [`RegionError`]
    pub fn trap<P: Permission>(
        &self,
        region: &RegionInfo<'_>,
    ) -> Result<Window<TrappedRegion<&Self>, P>, RegionError> {
        TrappedRegion::reach(self, region)
    }
}

impl<D: DeviceHandle> MappedRegion<D> {
    /// Maps the stretch of `region` that starts at `offset` (bytes), one of
    /// [`Device::coverage`], as [`Device::map`] does, and keeps the handle.
    ///
    /// # Errors
    /// [`RegionError`]
    #[inline(never)]
    pub fn map<P: Permission>(
        device: D,
        region: &RegionInfo<'_>,
        offset: u64,
    ) -> Result<Window<Self, P>, RegionError> {
        permitted::<P>(region.flags)?;
        let span = device
            .coverage(region)
            .find(|span| span.offset == offset && span.reach == coverage::Reach::Mapped)
            .ok_or(RegionError::NotMappable { offset })?;
        let mapping = map(&*device, region, span, P::PROTECTION)?;
        Window::with_permission(Self::new(device, mapping))
            .map_err(|_| RegionError::Map(Errno::EACCES))
    }
}

impl<D: DeviceHandle> TrappedRegion<D> {
    /// Reaches a whole region by system calls, as [`Device::trap`] does, and keeps the handle.
    ///
    /// # Errors
    /// [`RegionError`]
    pub fn reach<P: Permission>(
        device: D,
        region: &RegionInfo<'_>,
    ) -> Result<Window<Self, P>, RegionError> {
        permitted::<P>(region.flags)?;
        let (offset, len) = span_of(region)?;
        Ok(Window::new(Self::new(device, offset, len)).restrict())
    }

    /// Reaches the `len` bytes at `offset` (bytes) of a region by system calls: also those of a
    /// region that is longer than this host's addresses.
    ///
    /// # Errors
    /// [`RegionError`]
    pub fn reach_part<P: Permission>(
        device: D,
        region: &RegionInfo<'_>,
        offset: u64,
        len: usize,
    ) -> Result<Window<Self, P>, RegionError> {
        permitted::<P>(region.flags)?;
        let end = u64::try_from(len).ok();
        let end = end.and_then(|len| offset.checked_add(len));
        if end.is_none_or(|end| end > region.size) {
            return Err(RegionError::OutOfBounds { offset, len });
        }
        let position = region.offset.checked_add(offset);
        let position = position.ok_or(RegionError::TooLong)?;
        Ok(Window::new(Self::new(device, position, len)).restrict())
    }
}

/// Maps a stretch of `region`, for all that `protection` permits.
fn map<S: Sys>(
    device: &Device<S>,
    region: &RegionInfo<'_>,
    span: coverage::Stretch,
    protection: Protection,
) -> Result<S::Mapping, RegionError> {
    let position = region.offset.checked_add(span.offset);
    let span = Span {
        offset: position.ok_or(RegionError::TooLong)?,
        len: usize::try_from(span.size).map_err(|_| RegionError::TooLong)?,
    };
    let mapped = device.sys().map(device.fd(), span, protection);
    let mapping = mapped.map_err(RegionError::Map)?;
    // A shim that maps less than it is asked for has refused it.
    if mapping.protection().covers(protection) {
        Ok(mapping)
    } else {
        Err(RegionError::Map(Errno::EACCES))
    }
}

/// Returns where a region lies in the device's file, and its length, in bytes.
fn span_of(region: &RegionInfo<'_>) -> Result<(u64, usize), RegionError> {
    let end = region.offset.checked_add(region.size);
    let len = usize::try_from(region.size).ok().filter(|_| end.is_some());
    Ok((region.offset, len.ok_or(RegionError::TooLong)?))
}

/// Tells whether flags permit `P`.
fn permitted<P: Permission>(flags: RegionFlags) -> Result<(), RegionError> {
    let mut needed = RegionFlags::empty();
    needed.set(RegionFlags::READ, P::PROTECTION.read);
    needed.set(RegionFlags::WRITE, P::PROTECTION.write);
    if flags.contains(needed) {
        Ok(())
    } else {
        Err(RegionError::NotPermitted { flags })
    }
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPermitted { flags } => write!(f, "the region permits only {flags}"),
            Self::NotMappable { offset } => {
                write!(f, "nothing can be mapped at {offset:#x} of the region")
            }
            Self::OutOfBounds { offset, len } => {
                write!(f, "the region does not have {len} bytes at {offset:#x}")
            }
            Self::TooLong => f.write_str("the region is longer than this host can address"),
            Self::Map(errno) => write!(f, "the region can't be mapped: {errno}"),
        }
    }
}

impl core::error::Error for RegionError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Map(errno) => Some(errno),
            _ => None,
        }
    }
}
