//! The data of a migration.

use zerocopy::IntoBytes;

use crate::sys::{self, Errno, Exchange, ExchangeRequest, Sys};
use crate::wire::abi::PrecopyInfo;

/// The data of a migration, a stream of bytes; closed on drop.
#[derive(Debug)]
pub struct MigrationData<S: Sys> {
    sys: S,
    fd: S::Fd,
}

impl<S: Sys> MigrationData<S> {
    pub(super) const fn new(sys: S, fd: S::Fd) -> Self {
        Self { sys, fd }
    }

    /// Reads what comes next, and returns how many bytes that is: 0 at the end.
    ///
    /// # Errors
    /// What `read(2)` returns: `ENODEV` when the device has left the state, and in
    /// [`MigState::PRE_COPY`](crate::wire::abi::MigState::PRE_COPY) `ENOMSG` (42) where a driver has no
    /// more for now.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize, Errno> {
        self.sys.read(&self.fd, buf)
    }

    /// Writes what comes next, and returns how many bytes were taken.
    ///
    /// # Errors
    /// What `write(2)` returns: `EINVAL` for data that are not the device's, where it looks at
    /// once.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        self.sys.write(&self.fd, bytes)
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// As [`MigrationData::write`]; `EIO` where nothing is taken any more.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match self.write(rest)? {
                0 => return Err(Errno::EIO),
                // A kernel that has taken more than there was has taken all.
                taken => rest.get(taken..).unwrap_or_default(),
            };
        }
        Ok(())
    }

    /// Returns how much of the data there is while the device still runs
    /// (`VFIO_MIG_GET_PRECOPY_INFO`, since Linux 6.2).
    ///
    /// # Errors
    /// What `ioctl(2)` returns: `EINVAL` outside of
    /// [`MigState::PRE_COPY`](crate::wire::abi::MigState::PRE_COPY), `ENOTTY` where the device has
    /// none.
    pub fn precopy(&self) -> Result<PrecopyInfo, Errno> {
        let mut info = PrecopyInfo::default();
        let exchange = Exchange::new(ExchangeRequest::PrecopyInfo, info.as_mut_bytes())?;
        sys::send(&self.sys, &self.fd, exchange)?;
        Ok(info)
    }
}

#[cfg(feature = "defmt")]
impl<S: Sys> defmt::Format for MigrationData<S> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "MigrationData");
    }
}
