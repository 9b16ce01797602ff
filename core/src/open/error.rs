//! Why a device could not be opened.

use core::fmt;

use crate::open::container::OpenError;
use crate::open::iommufd::IommufdError;
use crate::sys::Errno;

/// Why a device could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SessionError {
    /// It has neither a group nor a character device.
    Nowhere,
    /// It has no IOMMU group.
    NoGroup,
    /// It has no character device.
    NoCdev,
    /// It has no socket.
    NoSocket,
    /// No IOMMU confines it, and nobody gave the word that its driver does
    /// ([`Place::noiommu`](super::Place::noiommu)).
    NoIommu,
    /// It can't be opened through its group.
    Group(OpenError),
    /// It can't be opened through its character device.
    Iommufd(IommufdError),
}

impl SessionError {
    /// Tells whether the system, or the caller, does not have the way that was tried.
    #[must_use]
    pub const fn is_absence(&self) -> bool {
        match self {
            Self::Nowhere | Self::NoGroup | Self::NoCdev | Self::NoSocket => true,
            Self::NoIommu => false,
            Self::Group(error) => match error {
                OpenError::Container(errno) | OpenError::Group { errno, .. } => is_absent(*errno),
                OpenError::NoIommu(_) => true,
                _ => false,
            },
            Self::Iommufd(error) => match error {
                IommufdError::Open(errno) | IommufdError::Device(errno) => is_absent(*errno),
                _ => false,
            },
        }
    }

    /// Returns the one of two absences that was nearer to success.
    pub(super) fn nearer(self, other: Self) -> Self {
        if other.nearness() > self.nearness() {
            other
        } else {
            self
        }
    }

    /// Returns how near to success an absence was.
    const fn nearness(&self) -> u8 {
        match self {
            Self::Nowhere => 0,
            Self::NoGroup | Self::NoCdev | Self::NoSocket => 1,
            Self::Group(OpenError::Container(errno) | OpenError::Group { errno, .. })
            | Self::Iommufd(IommufdError::Open(errno) | IommufdError::Device(errno)) => {
                // Permission can be given; a file that is missing may not even be in this kernel.
                if is_denied(*errno) { 4 } else { 2 }
            }
            _ => 3,
        }
    }
}

/// Tells whether a file is not there, or not the caller's to open.
const fn is_absent(errno: Errno) -> bool {
    is_denied(errno) || matches!(errno, Errno::ENOENT | Errno::ENODEV | Errno::ENXIO)
}

const fn is_denied(errno: Errno) -> bool {
    matches!(errno, Errno::EACCES | Errno::EPERM)
}

impl From<OpenError> for SessionError {
    fn from(error: OpenError) -> Self {
        Self::Group(error)
    }
}

impl From<IommufdError> for SessionError {
    fn from(error: IommufdError) -> Self {
        Self::Iommufd(error)
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => {
                f.write_str("the device has neither an IOMMU group nor a character device")
            }
            Self::NoGroup => f.write_str("the device has no IOMMU group"),
            Self::NoCdev => f.write_str("the device has no character device of VFIO"),
            Self::NoSocket => f.write_str("the device is not served over a socket"),
            Self::NoIommu => f.write_str(
                "no IOMMU confines the device: it reaches all memory, and is opened only by who \
                 acknowledges that its driver keeps it to its own",
            ),
            Self::Group(error) => error.fmt(f),
            Self::Iommufd(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SessionError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Nowhere | Self::NoGroup | Self::NoCdev | Self::NoSocket | Self::NoIommu => None,
            Self::Group(error) => Some(error),
            Self::Iommufd(error) => Some(error),
        }
    }
}
