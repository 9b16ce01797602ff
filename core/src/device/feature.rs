//! Features of a device: what is there, and those that are plain values
//! (`VFIO_DEVICE_FEATURE`, linux/vfio.h, since Linux 5.7).
//!
//! The features of a migration are in [`migration`](crate::device::migration).

#![forbid(unsafe_code)]

use core::fmt;
use core::mem::size_of;

use zerocopy::IntoBytes;

use crate::device::Device;
use crate::sys::{self, Errno, Exchange, ExchangeRequest, LOW_POWER_WAKEUP_LEN, Sys};
use crate::wire::abi::{
    BusMasterOp, DeviceFeature, DeviceFeatureBusMaster, FeatureFlags, FeatureId,
};

/// What can be done with a feature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Support {
    /// It can be read.
    pub get: bool,
    /// It can be written.
    pub set: bool,
}

/// Why a feature could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum FeatureError {
    /// The device or the kernel does not have it (`ENOTTY`).
    Missing(FeatureId),
    /// It is there, and the kernel refuses; `EINVAL` also for the direction that it has not.
    Refused {
        /// The feature.
        feature: FeatureId,
        /// Why.
        errno: Errno,
    },
}

/// Bytes of a request before its data.
const HEAD: usize = size_of::<DeviceFeature>();

/// Bytes of the longest plain data, the token.
const LONGEST: usize = 16;

impl<S: Sys> Device<S> {
    /// Asks whether `feature` can be read and whether it can be written; neither is no error.
    ///
    /// # Errors
    /// [`FeatureError::Refused`] for an answer that says neither yes nor no.
    pub fn probe_feature(&self, feature: FeatureId) -> Result<Support, FeatureError> {
        let has = |direction| match self.probe(FeatureFlags::PROBE | direction, feature) {
            Ok(()) => Ok(true),
            Err(Errno::ENOTTY | Errno::EINVAL) => Ok(false),
            Err(errno) => Err(FeatureError::Refused { feature, errno }),
        };
        Ok(Support {
            get: has(FeatureFlags::GET)?,
            set: has(FeatureFlags::SET)?,
        })
    }

    /// Switches bus mastering where there is no other way to: devices on the CDX bus have this
    /// feature, PCI devices have a bit in their command register
    /// ([`Command::MASTER`](crate::pci::Command::MASTER)). It can't be read.
    ///
    /// # Errors
    /// [`FeatureError`]
    pub fn set_bus_master(&self, is_on: bool) -> Result<(), FeatureError> {
        let op = if is_on {
            BusMasterOp::SET_MASTER
        } else {
            BusMasterOp::CLEAR_MASTER
        };
        let mut data = DeviceFeatureBusMaster { op: op.0 };
        self.set_feature(FeatureId::BUS_MASTER, data.as_mut_bytes())
    }

    /// Gives a physical function the token, a UUID, that its virtual functions are opened with
    /// ([`Group::device_with_token`], [`Ioas::bind_with_token`]).
    ///
    /// [`Group::device_with_token`]: crate::open::container::Group::device_with_token
    /// [`Ioas::bind_with_token`]: crate::open::iommufd::Ioas::bind_with_token
    ///
    /// # Errors
    /// [`FeatureError`]
    pub fn set_vf_token(&self, mut token: [u8; 16]) -> Result<(), FeatureError> {
        self.set_feature(FeatureId::PCI_VF_TOKEN, &mut token)
    }

    /// Lets the kernel put the device into a state of low power while nothing is asked of it. A
    /// system call wakes it for as long as it lasts; what is mapped of it must not be touched
    /// before [`Device::exit_low_power`]: such an access ends the process with `SIGBUS`.
    ///
    /// # Errors
    /// [`FeatureError`]; `EINVAL` where it was let already.
    pub fn enter_low_power(&self) -> Result<(), FeatureError> {
        self.set_feature(FeatureId::LOW_POWER_ENTRY, &mut [])
    }

    /// Enters low power once: any wake-up, even by a system call, ends it and signals `wakeup`.
    ///
    /// # Errors
    /// [`FeatureError`]; `EINVAL` where it was let already.
    pub fn enter_low_power_with_wakeup(&self, wakeup: &S::Event) -> Result<(), FeatureError> {
        let mut buffer = [0; LOW_POWER_WAKEUP_LEN];
        let wakeup = [Some(wakeup)];
        let exchange = Exchange::low_power_wakeup(&mut buffer, &wakeup);
        sys::send(self.sys(), self.fd(), exchange)
            .map_err(|errno| FeatureError::new(FeatureId::LOW_POWER_ENTRY_WITH_WAKEUP, errno))
    }

    /// Ends low power; no error where there was none.
    ///
    /// # Errors
    /// [`FeatureError`]
    pub fn exit_low_power(&self) -> Result<(), FeatureError> {
        self.set_feature(FeatureId::LOW_POWER_EXIT, &mut [])
    }

    /// Reads a feature of up to 16 bytes without pointers.
    pub(crate) fn get_feature(
        &self,
        feature: FeatureId,
        data: &mut [u8],
    ) -> Result<(), FeatureError> {
        self.transfer(FeatureFlags::GET, feature, data)
            .map_err(|errno| FeatureError::new(feature, errno))
    }

    /// Writes a feature of up to 16 bytes without pointers.
    pub(crate) fn set_feature(
        &self,
        feature: FeatureId,
        data: &mut [u8],
    ) -> Result<(), FeatureError> {
        self.transfer(FeatureFlags::SET, feature, data)
            .map_err(|errno| FeatureError::new(feature, errno))
    }

    fn probe(&self, flags: FeatureFlags, feature: FeatureId) -> Result<(), Errno> {
        self.transfer(flags, feature, &mut [])
    }

    /// Makes a request with `data`, which takes the answer.
    fn transfer(
        &self,
        flags: FeatureFlags,
        feature: FeatureId,
        data: &mut [u8],
    ) -> Result<(), Errno> {
        let mut buffer = [0; HEAD + LONGEST];
        let len = HEAD.saturating_add(data.len());
        let argument = buffer.get_mut(..len).ok_or(Errno::EINVAL)?;
        let head = DeviceFeature {
            flags: flags.with_feature(feature),
            ..Default::default()
        };
        let values = head.as_bytes().iter().chain(&*data);
        argument
            .iter_mut()
            .zip(values)
            .for_each(|(to, from)| *to = *from);
        let exchange = Exchange::new(ExchangeRequest::Feature, argument)?;
        sys::send(self.sys(), self.fd(), exchange)?;
        data.iter_mut()
            .zip(buffer.iter().skip(HEAD))
            .for_each(|(to, from)| *to = *from);
        Ok(())
    }
}

impl FeatureError {
    /// Creates the error for the kernel's answer about a feature.
    pub(crate) const fn new(feature: FeatureId, errno: Errno) -> Self {
        match errno {
            Errno::ENOTTY => Self::Missing(feature),
            errno => Self::Refused { feature, errno },
        }
    }
}

impl fmt::Display for FeatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(feature) => write!(f, "the device has no feature {feature}"),
            Self::Refused { feature, errno } => write!(f, "the feature {feature}: {errno}"),
        }
    }
}

impl core::error::Error for FeatureError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Missing(_) => None,
            Self::Refused { errno, .. } => Some(errno),
        }
    }
}
