//! A shim for tests: one file with one region that can be read and written.

use core::cell::{Cell, RefCell};
use core::ffi::CStr;
use std::vec::Vec;

use super::Device;
use crate::sys::{
    Absent, Errno, FdRequest, InfoRequest, NameRequest, Sys, ValueRequest, put_argsz,
};

/// A device's file.
pub(crate) struct File {
    /// Where the region lies.
    pub(crate) offset: u64,
    /// What is in it.
    pub(crate) bytes: RefCell<Vec<u8>>,
    /// Bytes that a transfer moves at most, or why it fails.
    pub(crate) limit: Cell<Result<usize, Errno>>,
}

impl File {
    /// Creates a file whose region is at `offset`. Transfers of up to 8 bytes work.
    pub(crate) fn new(offset: u64, bytes: &[u8]) -> Self {
        Self {
            offset,
            bytes: RefCell::new(bytes.into()),
            limit: Cell::new(Ok(8)),
        }
    }

    /// Returns the device.
    pub(crate) fn device(&self) -> Device<&Self> {
        Device::new(self, ())
    }

    /// Returns where a transfer begins, and how many bytes it moves.
    fn transfer(&self, offset: u64, len: usize) -> Result<(usize, usize), Errno> {
        let at = offset.checked_sub(self.offset).ok_or(Errno::EINVAL)?;
        Ok((at.try_into().unwrap(), len.min(self.limit.get()?)))
    }
}

impl Sys for File {
    type Fd = ();
    type Mapping = Absent;
    type Memory = Absent;
    type Event = Absent;

    fn page_size(&self) -> usize {
        4096
    }

    fn open(&self, _: &CStr) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    fn ioctl_info(&self, (): &(), request: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
        assert_eq!(request, InfoRequest::Region);
        let size = self.bytes.borrow().len() as u64;
        reply[4..8].copy_from_slice(&3_u32.to_ne_bytes());
        reply[16..24].copy_from_slice(&size.to_ne_bytes());
        reply[24..32].copy_from_slice(&self.offset.to_ne_bytes());
        put_argsz(reply)
    }

    fn ioctl_value(&self, (): &(), _: ValueRequest, _: u32) -> Result<u32, Errno> {
        Err(Errno::ENOSYS)
    }

    fn ioctl_fd(&self, (): &(), _: FdRequest, (): &()) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    fn ioctl_name(&self, (): &(), _: NameRequest, _: &CStr) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    fn pread(&self, (): &(), buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let (at, len) = self.transfer(offset, buf.len())?;
        buf[..len].copy_from_slice(&self.bytes.borrow()[at..at + len]);
        Ok(len)
    }

    fn pwrite(&self, (): &(), buf: &[u8], offset: u64) -> Result<usize, Errno> {
        let (at, len) = self.transfer(offset, buf.len())?;
        self.bytes.borrow_mut()[at..at + len].copy_from_slice(&buf[..len]);
        Ok(len)
    }
}
