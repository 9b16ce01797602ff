//! A world that answers by a script, and a buffer that grows.

use core::ffi::CStr;
use std::cell::{Cell, RefCell};

use vfio_core::query::ReplyBuffer;
use vfio_core::sys::{
    Absent, Errno, FdRequest, InfoRequest, NameRequest, Sys, ValueRequest, put_argsz,
};

/// A shim whose INFO ioctls are answered by a function; nothing else works.
pub struct Scripted<F> {
    respond: RefCell<F>,
    calls: Cell<u32>,
}

/// A buffer on the heap, of at most `limit` bytes.
#[derive(Clone, Debug)]
pub struct Growing {
    bytes: Vec<u8>,
    limit: usize,
}

impl<F: FnMut(u32, InfoRequest, &mut [u8]) -> Result<(), Errno>> Scripted<F> {
    /// Creates answers by `respond`, which gets the number of the call (from 0), the request, and
    /// the buffer as the kernel would see it.
    pub const fn new(respond: F) -> Self {
        Self {
            respond: RefCell::new(respond),
            calls: Cell::new(0),
        }
    }

    /// Returns how many ioctls were made.
    pub const fn calls(&self) -> u32 {
        self.calls.get()
    }
}

impl Growing {
    /// Creates a buffer of `len` bytes that grows to `limit` bytes and not beyond.
    #[must_use]
    pub fn new(len: usize, limit: usize) -> Self {
        Self {
            bytes: vec![0xa5; len],
            limit,
        }
    }
}

impl ReplyBuffer for Growing {
    const GROWS: bool = true;

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn grow(&mut self, needed: u64) -> bool {
        match usize::try_from(needed) {
            Ok(needed) if needed > self.bytes.len() && needed <= self.limit => {
                self.bytes.resize(needed, 0xa5);
                true
            }
            _ => false,
        }
    }
}

impl<F: FnMut(u32, InfoRequest, &mut [u8]) -> Result<(), Errno>> Sys for Scripted<F> {
    type Fd = ();
    type Mapping = Absent;
    type Memory = Absent;
    type Event = Absent;

    fn page_size(&self) -> usize {
        4096
    }

    fn ioctl_info(&self, (): &(), asked: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
        put_argsz(reply)?;
        let call = self.calls.get();
        self.calls.set(call + 1);
        (self.respond.borrow_mut())(call, asked, reply)
    }

    fn open(&self, _: &CStr) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
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

    fn pread(&self, (): &(), _: &mut [u8], _: u64) -> Result<usize, Errno> {
        Err(Errno::ENOSYS)
    }

    fn pwrite(&self, (): &(), _: &[u8], _: u64) -> Result<usize, Errno> {
        Err(Errno::ENOSYS)
    }
}
