//! Why discovery failed.

use core::fmt;
use std::io;
use std::path::PathBuf;

use super::Address;

/// Why the devices could not be read from sysfs.
#[derive(Debug)]
pub enum DiscoveryError {
    /// A file or directory could not be read.
    Read {
        /// What was to be read.
        path: PathBuf,
        /// Why it could not be.
        source: io::Error,
    },
    /// An entry of sysfs is not what the kernel documents.
    Malformed {
        /// The entry.
        path: PathBuf,
        /// What it was read as, cut short.
        found: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// There is no device with this address.
    NoSuchDevice(Address),
}

impl fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::Malformed {
                path,
                found,
                expected,
            } => {
                write!(f, "{} is {found:?}, not {expected}", path.display())
            }
            Self::NoSuchDevice(address) => write!(f, "there is no PCI device {address}"),
        }
    }
}

impl core::error::Error for DiscoveryError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Malformed { .. } | Self::NoSuchDevice(_) => None,
        }
    }
}
