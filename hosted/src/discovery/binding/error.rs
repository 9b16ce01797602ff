//! Why a device could not be bound.

use core::fmt;
use std::io;
use std::path::PathBuf;

use super::super::{Address, DiscoveryError, Process, Usage};

/// Why a device was not bound to vfio-pci, or not given back. Its `Display` is one sentence, without the full stop.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindError {
    /// The device could not be read from sysfs. Nothing was changed.
    Discovery(DiscoveryError),
    /// It is a bridge, and vfio-pci takes only devices with an ordinary header. Nothing was changed.
    Bridge(Address),
    /// The driver vfio-pci is not there to be bound. Nothing was changed.
    ModuleMissing,
    /// The system would lose something that it uses. Nothing was changed.
    InUse {
        /// The device.
        address: Address,
        /// What it is used for.
        usages: Vec<Usage>,
    },
    /// No VFIO driver is bound to the device. Nothing was changed.
    NotBound {
        /// The device.
        address: Address,
        /// The driver that is bound instead.
        driver: Option<String>,
    },
    /// Processes have the device open: taking it away would wait for them. Nothing was changed.
    Open {
        /// The device.
        address: Address,
        /// These processes.
        processes: Vec<Process>,
    },
    /// The kernel did not finish a step in time. It goes on with it, and the device changes its driver once that is
    /// done. Nothing was undone, which would have had to wait as well.
    Unfinished {
        /// The device.
        address: Address,
        /// The step.
        step: StepError,
    },
    /// A step failed, and those before it were undone.
    Step {
        /// The step.
        step: StepError,
        /// What could not be undone; empty where all is as it was.
        left: Vec<StepError>,
    },
    /// Every step was made, but what came of it can't be read; the steps were undone.
    Verify {
        /// Why not.
        error: DiscoveryError,
        /// What could not be undone; empty where all is as it was.
        left: Vec<StepError>,
    },
    /// Every step was made, but the device ended with another driver than it should have; the steps were undone.
    WrongDriver {
        /// The device.
        address: Address,
        /// What the kernel bound.
        driver: Option<String>,
        /// What could not be undone; empty where all is as it was.
        left: Vec<StepError>,
    },
}

/// An attribute of sysfs that could not be written.
#[derive(Debug)]
pub struct StepError {
    /// The attribute.
    pub path: PathBuf,
    /// What was to be written.
    pub value: String,
    /// Why it could not be.
    pub source: io::Error,
}

impl StepError {
    /// Tells whether the kernel had not finished the step when waiting for it was given up.
    pub(super) fn is_unfinished(&self) -> bool {
        self.source.kind() == io::ErrorKind::TimedOut
    }
}

impl BindError {
    /// Returns the steps that could not be undone.
    #[must_use]
    pub fn left(&self) -> &[StepError] {
        match self {
            Self::Step { left, .. }
            | Self::Verify { left, .. }
            | Self::WrongDriver { left, .. } => left,
            _ => &[],
        }
    }
}

impl From<DiscoveryError> for BindError {
    fn from(error: DiscoveryError) -> Self {
        Self::Discovery(error)
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discovery(error) => error.fmt(f),
            Self::Bridge(address) => {
                write!(f, "{address} is a bridge, which vfio-pci does not take")
            }
            Self::ModuleMissing => f.write_str("the driver vfio-pci is not loaded"),
            Self::InUse { address, usages } => {
                write!(f, "{address} is in use: ")?;
                list(f, usages)
            }
            Self::NotBound { address, driver } => match driver {
                Some(driver) => write!(f, "{address} is bound to {driver}, not to vfio-pci"),
                None => write!(f, "{address} is bound to no driver"),
            },
            Self::Open { address, processes } => {
                write!(f, "{address} is open in ")?;
                list(f, processes)
            }
            Self::Unfinished { address, step } => write!(
                f,
                "the kernel still works on {address}: writing {:?} to {} has not ended",
                step.value.trim_end(),
                step.path.display()
            ),
            Self::Step { step, .. } => step.fmt(f),
            Self::Verify { error, .. } => error.fmt(f),
            Self::WrongDriver {
                address, driver, ..
            } => match driver.as_deref() {
                Some(driver) => write!(f, "the kernel bound {driver} to {address}"),
                None => write!(f, "vfio-pci does not take {address}"),
            },
        }?;
        if !self.left().is_empty() {
            f.write_str(", and undoing failed: ")?;
            list(f, self.left())?;
        }
        Ok(())
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot write {:?} to {}: {}",
            self.value.trim_end(),
            self.path.display(),
            self.source
        )
    }
}

fn list(f: &mut fmt::Formatter<'_>, items: &[impl fmt::Display]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        let separator = if i == 0 { "" } else { ", " };
        write!(f, "{separator}{item}")?;
    }
    Ok(())
}

impl core::error::Error for BindError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Discovery(error) | Self::Verify { error, .. } => Some(error),
            Self::Step { step, .. } | Self::Unfinished { step, .. } => Some(step),
            _ => None,
        }
    }
}

impl core::error::Error for StepError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.source)
    }
}
