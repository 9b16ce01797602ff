//! Migration of a device, version 2 of the protocol (linux/vfio.h, since Linux 5.18).
//!
//! A device runs until it is told to stop. The way of the one that goes:
//! `RUNNING` → `STOP_COPY`, read its data to the end → `STOP`; where it has `PRE_COPY`, a part of
//! its data can be read while it still runs. The way of the one that comes: `RUNNING` →
//! `RESUMING`, write the data → `STOP` → `RUNNING`. The kernel takes every step on the shortest
//! way between two states itself, where it need not read or write data on it.
//!
//! ```no_run
//! # fn migrate<S: vfio_core::sys::Sys + Clone>(
//! #     from: &vfio_core::device::Device<S>, to: &vfio_core::device::Device<S>,
//! # ) -> Result<(), vfio_core::device::migration::MigrationError> {
//! use vfio_core::wire::abi::MigState;
//! use vfio_core::device::migration::MigrationError;
//!
//! let data = MigrationError::Data;
//! let mut source = from.set_migration_state(MigState::STOP_COPY)?.expect("data");
//! let mut target = to.set_migration_state(MigState::RESUMING)?.expect("data");
//! let mut buffer = [0; 4096];
//! loop {
//!     match source.read(&mut buffer).map_err(data)? {
//!         0 => break,
//!         count => target.write_all(&buffer[..count]).map_err(data)?,
//!     }
//! }
//! drop((source, target));
//! from.set_migration_state(MigState::STOP)?;
//! to.set_migration_state(MigState::RUNNING)?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod data;

pub use data::MigrationData;

use core::fmt;

use zerocopy::IntoBytes;

use crate::device::Device;
use crate::device::feature::FeatureError;
use crate::sys::{Errno, Exchange, MIG_STATE_LEN, Sys};
use crate::wire::abi::{
    DeviceFeatureMigDataSize, DeviceFeatureMigState, DeviceFeatureMigration, FeatureId, MigState,
    MigrationFlags,
};

/// Why a migration does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum MigrationError {
    /// The device does not migrate, or does not tell its state.
    Feature(FeatureError),
    /// The device does not reach a state: `EINVAL` where no way leads there from where it is,
    /// or where the data that were written are not for it.
    State {
        /// The state that it was to reach.
        to: MigState,
        /// Where it is now, if it says so: where it was, or on the way; in
        /// [`MigState::ERROR`] only a reset helps.
        now: Option<MigState>,
        /// Why.
        errno: Errno,
    },
    /// The data can't be read or written.
    Data(Errno),
}

impl<S: Sys> Device<S> {
    /// Returns which states the device has beyond [`MigState::RUNNING`] and [`MigState::STOP`].
    ///
    /// # Errors
    /// [`FeatureError::Missing`] where it does not migrate.
    pub fn migration(&self) -> Result<MigrationFlags, FeatureError> {
        let mut migration = DeviceFeatureMigration::default();
        self.get_feature(FeatureId::MIGRATION, migration.as_mut_bytes())?;
        Ok(migration.flags)
    }

    /// Returns the state of the device.
    ///
    /// # Errors
    /// [`FeatureError`]
    pub fn migration_state(&self) -> Result<MigState, FeatureError> {
        let mut state = DeviceFeatureMigState::default();
        self.get_feature(FeatureId::MIG_DEVICE_STATE, state.as_mut_bytes())?;
        Ok(MigState(state.device_state))
    }

    /// Returns about how many bytes of data there are in [`MigState::STOP_COPY`].
    ///
    /// # Errors
    /// [`FeatureError`]
    pub fn stop_copy_len(&self) -> Result<u64, FeatureError> {
        let mut size = DeviceFeatureMigDataSize::default();
        self.get_feature(FeatureId::MIG_DATA_SIZE, size.as_mut_bytes())?;
        Ok(size.stop_copy_length)
    }
}

impl<S: Sys + Clone> Device<S> {
    /// Brings the device into a state, and returns its data where that state has new ones:
    /// [`MigState::STOP_COPY`] and [`MigState::PRE_COPY`] to be read, [`MigState::RESUMING`] to
    /// be written. From `PRE_COPY` to `STOP_COPY` the data go on.
    ///
    /// # Errors
    /// [`MigrationError::Feature`], [`MigrationError::State`]
    pub fn set_migration_state(
        &self,
        to: MigState,
    ) -> Result<Option<MigrationData<S>>, MigrationError> {
        let mut buffer = [0; MIG_STATE_LEN];
        let feature = FeatureId::MIG_DEVICE_STATE;
        let exchange = Exchange::set_mig_state(&mut buffer, to);
        match self.sys().exchange_open(self.fd(), exchange) {
            Ok(file) => Ok(file.map(|fd| MigrationData::new(self.sys().clone(), fd))),
            Err(Errno::ENOTTY) => Err(MigrationError::Feature(FeatureError::Missing(feature))),
            Err(errno) => Err(MigrationError::State {
                to,
                now: self.migration_state().ok(),
                errno,
            }),
        }
    }

    /// Has the kernel say in [`MigrationData::precopy`] when a new initial part of the data
    /// begins (`MIG_PRECOPY_INFOv2`).
    ///
    /// # Errors
    /// [`FeatureError`]
    pub fn report_precopy_restarts(&self) -> Result<(), FeatureError> {
        self.set_feature(FeatureId::MIG_PRECOPY_INFO_V2, &mut [])
    }
}

impl fmt::Display for MigrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Feature(error) => error.fmt(f),
            Self::State { to, now, errno } => {
                write!(f, "the device does not reach the state {to}: {errno}")?;
                match now {
                    Some(now) => write!(f, "; it is in {now}"),
                    None => Ok(()),
                }
            }
            Self::Data(errno) => write!(f, "the data of the migration: {errno}"),
        }
    }
}

impl core::error::Error for MigrationError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Feature(error) => Some(error),
            Self::State { errno, .. } | Self::Data(errno) => Some(errno),
        }
    }
}
