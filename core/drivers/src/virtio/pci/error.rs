//! Why a device on PCI can't be reached.

use core::fmt;

use vfio_core::pci::{BringUpError, ConfigError, TransferError};
use vfio_core::query::QueryError;
use vfio_core::wire::abi;

use crate::virtio::capability::{Place, Structure};

/// Why a device on PCI can't be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum OpenError {
    /// The configuration space can't be asked about.
    Region(QueryError<abi::RegionInfo>),
    /// The configuration space can't be read, or its capabilities make no sense.
    Config(ConfigError<TransferError>),
    /// It is no virtio device.
    Id {
        /// Its vendor.
        vendor: u16,
        /// Its device id.
        device: u16,
    },
    /// The device does not say where a structure is: it keeps to no version that has it.
    NoStructure(Structure),
    /// A structure does not lie in its BAR, is too short or not aligned.
    Misplaced {
        /// Which one.
        structure: Structure,
        /// Where it is said to be.
        place: Place,
        /// The length of the BAR in bytes.
        len: usize,
    },
    /// A BAR can't be reached.
    BringUp(BringUpError),
}

impl From<ConfigError<TransferError>> for OpenError {
    fn from(error: ConfigError<TransferError>) -> Self {
        Self::Config(error)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region(error) => write!(f, "the configuration space: {error}"),
            Self::Config(error) => error.fmt(f),
            Self::Id { vendor, device } => {
                write!(f, "{vendor:04x}:{device:04x} is no virtio device")
            }
            Self::NoStructure(structure) => write!(
                f,
                "the device does not say where its {} structure is: it is older than version 1",
                structure.name()
            ),
            Self::Misplaced {
                structure,
                place,
                len,
            } => write!(
                f,
                "the {} structure can't be {:#x} bytes at {:#x} of BAR {}, which has {len:#x}",
                structure.name(),
                place.len,
                place.offset,
                place.bar
            ),
            Self::BringUp(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Region(error) => Some(error),
            Self::Config(error) => Some(error),
            Self::BringUp(error) => Some(error),
            Self::Id { .. } | Self::NoStructure(_) | Self::Misplaced { .. } => None,
        }
    }
}
