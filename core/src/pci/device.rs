//! The configuration space of an open VFIO device.

use core::fmt;

use super::{ConfigAccess, ConfigWrite, EXTENDED_SIZE};
use crate::abi;
use crate::device::Device;
use crate::query::{QueryError, ReplyBuffer};
use crate::sys::{Errno, Sys};

/// The config region of a device ([`abi::pci_region::CONFIG`]): each access is one system call.
pub struct DeviceConfig<'d, S: Sys> {
    device: &'d Device<S>,
    offset: u64,
    size: u16,
}

/// A read or a write of the config region that did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TransferError {
    /// The system call failed.
    Errno(Errno),
    /// It moved fewer bytes than asked.
    Short {
        /// How many bytes it moved.
        done: usize,
    },
}

impl<'d, S: Sys> DeviceConfig<'d, S> {
    /// The config region that lies at `offset` of the device's file and has `size` bytes, of
    /// which 4096 count.
    pub fn new(device: &'d Device<S>, offset: u64, size: u64) -> Self {
        let size = u16::try_from(size).map_or(EXTENDED_SIZE, |size| size.min(EXTENDED_SIZE));
        Self {
            device,
            offset,
            size,
        }
    }

    /// Asks the device for its config region. `buffer` holds the reply; 32 bytes do.
    ///
    /// # Errors
    /// [`QueryError`]
    pub fn ask<B: ReplyBuffer + ?Sized>(
        device: &'d Device<S>,
        buffer: &mut B,
    ) -> Result<Self, QueryError<abi::RegionInfo>> {
        let region = device.region(abi::pci_region::CONFIG, buffer)?;
        Ok(Self::new(device, region.offset, region.size))
    }
}

impl<S: Sys> ConfigAccess for DeviceConfig<'_, S> {
    type Error = TransferError;

    fn size(&self) -> u16 {
        self.size
    }

    fn read(&self, offset: u16, buf: &mut [u8]) -> Result<(), TransferError> {
        let wanted = buf.len();
        TransferError::check(self.device.read(self.offset, offset.into(), buf), wanted)
    }
}

impl<S: Sys> ConfigWrite for DeviceConfig<'_, S> {
    fn write(&mut self, offset: u16, bytes: &[u8]) -> Result<(), TransferError> {
        let done = self.device.write(self.offset, offset.into(), bytes);
        TransferError::check(done, bytes.len())
    }
}

impl TransferError {
    fn check(done: Result<usize, Errno>, wanted: usize) -> Result<(), Self> {
        match done {
            Ok(done) if done == wanted => Ok(()),
            Ok(done) => Err(Self::Short { done }),
            Err(errno) => Err(Self::Errno(errno)),
        }
    }
}

impl<S: Sys> Clone for DeviceConfig<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Sys> Copy for DeviceConfig<'_, S> {}

impl<S: Sys> fmt::Debug for DeviceConfig<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceConfig")
            .field("offset", &self.offset)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "defmt")]
impl<S: Sys> defmt::Format for DeviceConfig<'_, S> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "DeviceConfig {{ offset: {:#x}, size: {:#x} }}",
            self.offset,
            self.size
        );
    }
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(errno) => fmt::Display::fmt(errno, f),
            Self::Short { done } => write!(f, "only {done} bytes were moved"),
        }
    }
}

impl core::error::Error for TransferError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Errno(errno) => Some(errno),
            Self::Short { .. } => None,
        }
    }
}
