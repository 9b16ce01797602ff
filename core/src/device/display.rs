//! The display of a virtual graphics device: its planes and its EDID (linux/vfio.h, since Linux
//! 4.16 and 5.0).

#![forbid(unsafe_code)]

use core::fmt;
use core::mem::size_of;

use crate::device::dma_buf::DmaBuf;
use crate::device::{Device, DeviceHandle};
use crate::sys::{self, Errno, Exchange, Sys};
use crate::wire::abi::{DeviceGfxPlaneInfo, GfxLinkState, GfxPlaneFlags, RegionGfxEdid};
use crate::wire::caps::RegionKind;
use crate::wire::info::RegionInfo;

/// Which plane of a display.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PlaneType {
    /// `DRM_PLANE_TYPE_OVERLAY` (0).
    Overlay,
    /// `DRM_PLANE_TYPE_PRIMARY` (1): what is on the display.
    Primary,
    /// `DRM_PLANE_TYPE_CURSOR` (2).
    Cursor,
}

/// How a plane's memory is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PlaneMemory {
    /// As a dma-buf, of [`Device::plane_dma_buf`].
    DmaBuf,
    /// As a region.
    Region,
}

/// Where the fields of [`RegionGfxEdid`] are, in bytes.
mod field {
    pub(super) const EDID_OFFSET: u64 = 0;
    pub(super) const EDID_MAX_SIZE: u64 = 4;
    pub(super) const EDID_SIZE: u64 = 8;
    pub(super) const MAX_XRES: u64 = 12;
    pub(super) const MAX_YRES: u64 = 16;
    pub(super) const LINK_STATE: u64 = 20;
}

/// The EDID of a display, in a region of its own: what the guest reads of its monitor.
#[derive(Debug)]
pub struct Edid<D> {
    device: D,
    position: u64,
    size: u64,
}

/// What of an EDID region does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum EdidError {
    /// The region is of another kind, or too short.
    NotEdid,
    /// The device says that its EDID is where the region is not.
    OutOfBounds {
        /// Where, in bytes from the start of the region.
        offset: u32,
        /// The length in bytes.
        size: u32,
    },
    /// Bytes that the buffer needs.
    TooSmall {
        /// Bytes.
        needed: usize,
    },
    /// The most bytes that an EDID may have.
    TooLong {
        /// Bytes.
        max: usize,
    },
    /// So many bytes were read or written, and not all.
    Short {
        /// Bytes.
        done: usize,
    },
    /// The kernel refuses.
    Errno(Errno),
}

impl<S: Sys> Device<S> {
    /// Tells whether planes are to be had in this way.
    ///
    /// # Errors
    /// What the kernel returns but for `EINVAL` and `ENOTTY`, which mean no.
    pub fn has_planes(&self, memory: PlaneMemory) -> Result<bool, Errno> {
        let flags = GfxPlaneFlags::PROBE | memory.flag();
        match self.query_plane(flags, PlaneType::Primary) {
            Ok(_) => Ok(true),
            Err(Errno::EINVAL | Errno::ENOTTY) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Returns a plane as it is now. Its format is 0 where the guest has none.
    ///
    /// # Errors
    /// What the kernel returns: `EINVAL` where planes are not to be had in this way, `ENOTTY`
    /// where the device is none of graphics.
    pub fn plane(
        &self,
        memory: PlaneMemory,
        plane: PlaneType,
    ) -> Result<DeviceGfxPlaneInfo, Errno> {
        self.query_plane(memory.flag(), plane)
    }

    /// Returns the dma-buf of a plane, by [`DeviceGfxPlaneInfo::dmabuf_id`].
    ///
    /// # Errors
    /// What the kernel returns: `ENOENT` or `EINVAL` for an id that it has not given.
    pub fn plane_dma_buf(&self, mut id: u32) -> Result<DmaBuf<S>, Errno> {
        self.sys()
            .exchange_open(self.fd(), Exchange::gfx_dmabuf(&mut id))?
            .map(DmaBuf::new)
            .ok_or(Errno::EBADF)
    }

    /// Returns the EDID in `region`.
    ///
    /// # Errors
    /// [`EdidError::NotEdid`]
    pub fn edid(&self, region: &RegionInfo<'_>) -> Result<Edid<&Self>, EdidError> {
        Edid::new(self, region)
    }

    fn query_plane(
        &self,
        flags: GfxPlaneFlags,
        plane: PlaneType,
    ) -> Result<DeviceGfxPlaneInfo, Errno> {
        let mut info = DeviceGfxPlaneInfo::default();
        let exchange = Exchange::gfx_plane(&mut info, flags, plane.number());
        sys::send(self.sys(), self.fd(), exchange)?;
        Ok(info)
    }
}

impl PlaneType {
    const fn number(self) -> u32 {
        match self {
            Self::Overlay => 0,
            Self::Primary => 1,
            Self::Cursor => 2,
        }
    }
}

impl PlaneMemory {
    const fn flag(self) -> GfxPlaneFlags {
        match self {
            Self::DmaBuf => GfxPlaneFlags::DMABUF,
            Self::Region => GfxPlaneFlags::REGION,
        }
    }
}

impl<D: DeviceHandle> Edid<D> {
    /// Creates the EDID in `region`.
    ///
    /// # Errors
    /// [`EdidError::NotEdid`]
    pub fn new(device: D, region: &RegionInfo<'_>) -> Result<Self, EdidError> {
        let head = u64::try_from(size_of::<RegionGfxEdid>()).unwrap_or(u64::MAX);
        if region.kind() == Some(RegionKind::GFX_EDID) && region.size >= head {
            Ok(Self {
                device,
                position: region.offset,
                size: region.size,
            })
        } else {
            Err(EdidError::NotEdid)
        }
    }

    /// Reads the head: where the EDID is, how long it may be, and the largest mode.
    ///
    /// # Errors
    /// [`EdidError`]
    pub fn head(&self) -> Result<RegionGfxEdid, EdidError> {
        Ok(RegionGfxEdid {
            edid_offset: self.field(field::EDID_OFFSET)?,
            edid_max_size: self.field(field::EDID_MAX_SIZE)?,
            edid_size: self.field(field::EDID_SIZE)?,
            max_xres: self.field(field::MAX_XRES)?,
            max_yres: self.field(field::MAX_YRES)?,
            link_state: self.field(field::LINK_STATE)?,
        })
    }

    /// Reads the EDID into `buffer`, and returns it.
    ///
    /// # Errors
    /// [`EdidError`]
    pub fn read<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], EdidError> {
        let head = self.head()?;
        let at = self.place(head.edid_offset, head.edid_size)?;
        let needed = usize::try_from(head.edid_size).unwrap_or(usize::MAX);
        let edid = buffer
            .get_mut(..needed)
            .ok_or(EdidError::TooSmall { needed })?;
        let done = self.device.read(self.position, at, edid);
        all(edid.len(), done)?;
        Ok(edid)
    }

    /// Gives the display another EDID: the link goes down, the EDID is written, and the link
    /// comes up again, which makes the guest read it.
    ///
    /// # Errors
    /// [`EdidError`]; the link is left down then, and no EDID is half there.
    pub fn replace(&self, edid: &[u8]) -> Result<(), EdidError> {
        let head = self.head()?;
        let max = usize::try_from(head.edid_max_size).unwrap_or(usize::MAX);
        let size = u32::try_from(edid.len()).map_err(|_| EdidError::TooLong { max })?;
        if edid.len() > max {
            return Err(EdidError::TooLong { max });
        }
        let at = self.place(head.edid_offset, size)?;
        self.set_link(false)?;
        self.set_field(field::EDID_SIZE, size)?;
        let done = self.device.write(self.position, at, edid);
        all(edid.len(), done)?;
        self.set_link(true)
    }

    /// Connects the display, or takes it away.
    ///
    /// # Errors
    /// [`EdidError`]
    pub fn set_link(&self, is_up: bool) -> Result<(), EdidError> {
        let state = if is_up {
            GfxLinkState::UP
        } else {
            GfxLinkState::DOWN
        };
        self.set_field(field::LINK_STATE, state.0)
    }

    /// Returns where `size` bytes at `offset` of the region are.
    fn place(&self, offset: u32, size: u32) -> Result<u64, EdidError> {
        let end = u64::from(offset).saturating_add(u64::from(size));
        if end <= self.size {
            Ok(u64::from(offset))
        } else {
            Err(EdidError::OutOfBounds { offset, size })
        }
    }

    /// Reads one field: a device takes accesses of whole fields.
    fn field(&self, at: u64) -> Result<u32, EdidError> {
        let mut raw = [0; 4];
        let done = self.device.read(self.position, at, &mut raw);
        all(raw.len(), done)?;
        Ok(u32::from_ne_bytes(raw))
    }

    fn set_field(&self, at: u64, value: u32) -> Result<(), EdidError> {
        let raw = value.to_ne_bytes();
        all(raw.len(), self.device.write(self.position, at, &raw))
    }
}

/// Tells whether all of `len` bytes were read or written.
fn all(len: usize, done: Result<usize, Errno>) -> Result<(), EdidError> {
    match done {
        Ok(done) if done == len => Ok(()),
        Ok(done) => Err(EdidError::Short { done }),
        Err(errno) => Err(EdidError::Errno(errno)),
    }
}

impl fmt::Display for EdidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEdid => f.write_str("the region holds no EDID"),
            Self::OutOfBounds { offset, size } => {
                write!(
                    f,
                    "{size} bytes at {offset:#x} are not in the EDID's region"
                )
            }
            Self::TooSmall { needed } => write!(f, "the EDID needs a buffer of {needed} bytes"),
            Self::TooLong { max } => write!(f, "an EDID is no longer than {max} bytes here"),
            Self::Short { done } => write!(f, "only {done} bytes of the EDID were transferred"),
            Self::Errno(errno) => write!(f, "the EDID can't be reached: {errno}"),
        }
    }
}

impl core::error::Error for EdidError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Errno(errno) => Some(errno),
            _ => None,
        }
    }
}

#[cfg(feature = "defmt")]
impl<D> defmt::Format for Edid<D> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Edid({} bytes)", self.size);
    }
}
