//! The data of a migration.

use std::sync::{Arc, Mutex};
use std::vec::Vec;

use vfio_core::sys::Errno;

/// Data that a device and an open file share.
pub(in crate::sim) type SharedData = Arc<Mutex<Data>>;

/// What is read or written of the data of a migration.
#[derive(Default)]
pub(in crate::sim) struct Data {
    bytes: Vec<u8>,
    /// How many of them were read.
    read: usize,
    /// Whether the device has left the state that they are of.
    is_over: bool,
}

impl Data {
    pub(super) fn shared(bytes: Vec<u8>) -> SharedData {
        Arc::new(Mutex::new(Self {
            bytes,
            ..Self::default()
        }))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the data with more bytes behind them.
    pub(super) fn with(&self, bytes: &[u8]) -> Result<Vec<u8>, Errno> {
        self.check()?;
        Ok([&*self.bytes, bytes].concat())
    }

    /// Returns how many bytes are still to be read.
    pub(super) fn left(&self) -> Result<u64, Errno> {
        self.check()?;
        let left = self.bytes.len().saturating_sub(self.read);
        Ok(u64::try_from(left).unwrap_or(u64::MAX))
    }

    /// Reads what comes next; 0 bytes at the end.
    pub(in crate::sim) fn read(&mut self, buf: &mut [u8]) -> Result<usize, Errno> {
        self.check()?;
        let left = self.bytes.get(self.read..).unwrap_or_default();
        let count = left.len().min(buf.len());
        buf.iter_mut().zip(left).for_each(|(to, from)| *to = *from);
        self.read = self.read.saturating_add(count);
        Ok(count)
    }

    pub(super) fn end(&mut self) {
        self.is_over = true;
    }

    const fn check(&self) -> Result<(), Errno> {
        if self.is_over {
            Err(Errno::ENODEV)
        } else {
            Ok(())
        }
    }
}
