//! A PCI device made ready for its driver.

use core::fmt;

use super::{Command, Config, ConfigError, DeviceConfig, TransferError};
use crate::device::region::{MappedRegion, RegionError, WholeRegion};
use crate::device::{Device, DeviceHandle};
use crate::mmio::Window;
use crate::query::QueryError;
use crate::sys::Sys;
use crate::wire::abi;
use crate::wire::info::RegionInfo;

/// Why a device could not be made ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum BringUpError {
    /// A region can't be asked about: that of config space, or the BAR.
    Region {
        /// Its index.
        index: u32,
        /// Why.
        error: QueryError<abi::RegionInfo>,
    },
    /// The command register can't be read or written.
    Command(ConfigError<TransferError>),
    /// The BAR can't be mapped.
    Map {
        /// Its index.
        index: u32,
        /// Why.
        error: RegionError,
    },
}

/// The longest reply that is waited for: a BAR with a sparse area for each of its corners.
const REPLY: usize = 256;

impl<S: Sys> Device<S> {
    /// Switches decoding of memory and bus mastering on, and maps the BAR `index`
    /// ([`pci_region`](abi::pci_region)) from its start on: what a driver needs before its first
    /// register access.
    ///
    /// Bus mastering is off again once the device is closed (vfio-pci sees to it).
    ///
    /// # Errors
    /// [`BringUpError`]
    pub fn bring_up(&self, index: u32) -> Result<Window<MappedRegion<&Self>>, BringUpError> {
        MappedRegion::bring_up(self, index)
    }
}

impl<D: DeviceHandle> WholeRegion<D> {
    /// Switches the device on, as [`Device::bring_up`] does, and reaches all of a BAR: also where
    /// it can't be mapped, or not as a whole.
    ///
    /// # Errors
    /// [`BringUpError`]
    pub fn bring_up(device: D, index: u32) -> Result<Window<Self>, BringUpError> {
        let mut reply = [0; REPLY];
        let bar = switch_on(&device, index, &mut reply)?;
        Self::reach(device.clone(), &bar).map_err(|error| BringUpError::Map { index, error })
    }
}

impl<D: DeviceHandle> MappedRegion<D> {
    /// Switches the device on and maps a BAR, as [`Device::bring_up`] does, and keeps the handle.
    ///
    /// # Errors
    /// [`BringUpError`]
    pub fn bring_up(device: D, index: u32) -> Result<Window<Self>, BringUpError> {
        let mut reply = [0; REPLY];
        let bar = switch_on(&device, index, &mut reply)?;
        Self::map(device.clone(), &bar, 0).map_err(|error| BringUpError::Map { index, error })
    }
}

/// Switches decoding of memory and bus mastering on, and asks about a BAR.
fn switch_on<'b, D: DeviceHandle>(
    device: &D,
    index: u32,
    reply: &'b mut [u8; REPLY],
) -> Result<RegionInfo<'b>, BringUpError> {
    let of_region = |index| move |error| BringUpError::Region { index, error };
    let config = DeviceConfig::ask(&**device, reply).map_err(of_region(abi::pci_region::CONFIG))?;
    let mut config = Config::new(config);
    let command = config.command().map_err(BringUpError::Command)?;
    config
        .set_command(command | Command::MASTER | Command::MEMORY)
        .map_err(BringUpError::Command)?;
    device.region(index, reply).map_err(of_region(index))
}

impl fmt::Display for BringUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region { index, error } => write!(f, "region {index}: {error}"),
            Self::Command(error) => write!(f, "the command register: {error}"),
            Self::Map { index, error } => write!(f, "BAR {index}: {error}"),
        }
    }
}

impl core::error::Error for BringUpError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Region { error, .. } => Some(error),
            Self::Command(error) => Some(error),
            Self::Map { error, .. } => Some(error),
        }
    }
}
