//! The configuration space of an open VFIO device.

use core::fmt;

use super::{ConfigAccess, ConfigWrite, EXTENDED_SIZE};
use crate::device::DeviceHandle;
use crate::query::{QueryError, ReplyBuffer};
use crate::sys::Errno;
use crate::wire::abi;

/// The config region of a device ([`abi::pci_region::CONFIG`]): each access is one system call.
#[derive(Clone, Copy)]
pub struct DeviceConfig<D> {
    device: D,
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

impl<D: DeviceHandle> DeviceConfig<D> {
    /// Creates the config region at `offset` of the device's file. It has `size` bytes, and only
    /// 4096 count.
    pub fn new(device: D, offset: u64, size: u64) -> Self {
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
        device: D,
        buffer: &mut B,
    ) -> Result<Self, QueryError<abi::RegionInfo>> {
        let region = device.region(abi::pci_region::CONFIG, buffer)?;
        let (offset, size) = (region.offset, region.size);
        Ok(Self::new(device, offset, size))
    }
}

impl<D: DeviceHandle> ConfigAccess for DeviceConfig<D> {
    type Error = TransferError;

    fn size(&self) -> u16 {
        self.size
    }

    fn read(&self, offset: u16, buf: &mut [u8]) -> Result<(), TransferError> {
        let wanted = buf.len();
        TransferError::check(self.device.read(self.offset, offset.into(), buf), wanted)
    }
}

impl<D: DeviceHandle> ConfigWrite for DeviceConfig<D> {
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

impl<D> fmt::Debug for DeviceConfig<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceConfig")
            .field("offset", &self.offset)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "defmt")]
impl<D> defmt::Format for DeviceConfig<D> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::file::File;
    use crate::pci::{Command, Config, ConfigError};

    /// Where the config region lies in the device's file.
    const REGION: u64 = 0x700_0000_0000;

    /// Returns a device of which the config region alone can be read and written.
    fn file(limit: Result<usize, Errno>) -> File {
        let mut space = [0; 256];
        space[..4].copy_from_slice(&[0x34, 0x12, 0xe8, 0x11]);
        let file = File::new(REGION, &space);
        file.limit.set(limit);
        file
    }

    #[test]
    fn the_region_is_found_read_and_written() {
        let file = file(Ok(4));
        let device = file.device();
        let access = DeviceConfig::ask(&device, &mut [0; 32]).unwrap();
        let mut config = Config::new(access);
        assert_eq!(config.size(), 256);
        assert_eq!(config.id().unwrap().device, 0x11e8);
        config.set_command(Command::MASTER).unwrap();
        assert_eq!(file.bytes.borrow()[4..8], [4, 0, 0, 0]);
    }

    #[test]
    fn a_transfer_that_is_cut_short_is_an_error() {
        let file = file(Ok(2));
        let device = file.device();
        let mut config = Config::new(DeviceConfig::new(&device, REGION, 256));
        let error = ConfigError::Access {
            offset: 0,
            error: TransferError::Short { done: 2 },
        };
        assert_eq!(config.id(), Err(error));
        assert_eq!(config.write_u32(0, 0), Err(error));
        assert_eq!(config.read_u16(2), Ok(0x11e8));
    }

    #[test]
    fn a_transfer_that_fails_is_an_error() {
        let file = file(Err(Errno::EIO));
        let device = file.device();
        let config = Config::new(DeviceConfig::new(&device, REGION, 256));
        let error = ConfigError::Access {
            offset: 4,
            error: TransferError::Errno(Errno::EIO),
        };
        assert_eq!(config.command(), Err(error));
    }

    #[test]
    fn a_region_counts_up_to_4096_bytes_and_64_bits() {
        let file = file(Ok(4));
        let device = file.device();
        let access = DeviceConfig::new(&device, u64::MAX - 3, u64::MAX);
        assert_eq!(access.size(), 4096);
        assert_eq!(
            access.read(4, &mut [0; 4]),
            Err(TransferError::Errno(Errno::EOVERFLOW))
        );
    }
}
