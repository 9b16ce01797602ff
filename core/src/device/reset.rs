//! Hot reset: the reset of a whole PCI bus or slot, with all devices on it
//! (`VFIO_DEVICE_PCI_HOT_RESET`, linux/vfio.h).
//!
//! Who asks for it must own every device that it takes along
//! ([`Device::hot_reset_info`] tells which these are), and shows that by [`Ownership`].

#![forbid(unsafe_code)]

use core::fmt;
use core::mem::size_of;

use crate::device::Device;
use crate::sys::{self, Errno, Exchange, Sys};
use crate::wire::abi::PciHotReset;

/// How it is shown that the devices are the caller's.
#[derive(Debug)]
pub enum Ownership<'a, S: Sys> {
    /// By the files of their groups ([`Group::fd`]), all of which the caller has open: for a
    /// device that was opened through its group.
    ///
    /// [`Group::fd`]: crate::open::container::Group::fd
    Groups(&'a [&'a S::Fd]),
    /// By the iommufd that they are bound to: for a device that was opened through its character
    /// device (Linux 6.6 and later). A device that nobody has opened is owned as well, where its
    /// group is.
    Iommufd,
}

/// Why there was no hot reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum HotResetError {
    /// Bytes that the buffer needs.
    TooSmall {
        /// Bytes.
        needed: usize,
    },
    /// A device that is reset as well is not shown to be the caller's (`EINVAL`), or the caller
    /// may not reset it (`EPERM`).
    NotOwned(Errno),
    /// Neither the device's slot nor its bus can be reset (`ENODEV`): that of a root bus can't.
    NotPossible,
    /// The device is no PCI device (`ENOTTY`), or the kernel refuses for another reason.
    Errno(Errno),
}

/// Bytes of the structure before the groups.
const HEAD: usize = size_of::<PciHotReset>();

impl<S: Sys> Device<S> {
    /// Resets the slot or the bus of the device. `buffer` holds the request: 12 bytes, and 4 for
    /// each group.
    ///
    /// # Errors
    /// [`HotResetError`]
    pub fn hot_reset(
        &self,
        ownership: &Ownership<'_, S>,
        buffer: &mut [u8],
    ) -> Result<(), HotResetError> {
        let groups = match ownership {
            Ownership::Groups(groups) => *groups,
            Ownership::Iommufd => &[],
        };
        let needed = groups
            .len()
            .saturating_mul(size_of::<i32>())
            .saturating_add(HEAD);
        if buffer.len() < needed {
            return Err(HotResetError::TooSmall { needed });
        }
        let exchange = Exchange::hot_reset(buffer, groups).map_err(HotResetError::Errno)?;
        sys::send(self.sys(), self.fd(), exchange).map_err(HotResetError::new)
    }
}

impl HotResetError {
    const fn new(errno: Errno) -> Self {
        match errno {
            Errno::EINVAL | Errno::EPERM => Self::NotOwned(errno),
            Errno::ENODEV => Self::NotPossible,
            errno => Self::Errno(errno),
        }
    }
}

impl fmt::Display for HotResetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall { needed } => {
                write!(f, "the request needs a buffer of {needed} bytes")
            }
            Self::NotOwned(errno) => write!(
                f,
                "a device that the reset takes along is not known to be the caller's: {errno}"
            ),
            Self::NotPossible => f.write_str("neither the device's slot nor its bus can be reset"),
            Self::Errno(errno) => write!(f, "the slot or bus can't be reset: {errno}"),
        }
    }
}

impl core::error::Error for HotResetError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::NotOwned(errno) | Self::Errno(errno) => Some(errno),
            Self::TooSmall { .. } | Self::NotPossible => None,
        }
    }
}

#[cfg(feature = "defmt")]
impl<S: Sys> defmt::Format for Ownership<'_, S> {
    fn format(&self, f: defmt::Formatter<'_>) {
        match self {
            Self::Groups(groups) => defmt::write!(f, "Groups({})", groups.len()),
            Self::Iommufd => defmt::write!(f, "Iommufd"),
        }
    }
}
