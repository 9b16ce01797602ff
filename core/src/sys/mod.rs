//! The system-call shim: all that this crate asks of the world below it.
//!
//! A world (Linux, the simulated kernel, a unikernel) implements [`Sys`]; everything else in this
//! crate is generic over it and statically dispatched. The trait has no unsafe method: the type
//! of a request tells what the kernel may touch, and a file descriptor is an owned value that
//! closes itself.

#![forbid(unsafe_code)]

mod errno;
mod request;

use core::ffi::CStr;

pub use errno::Errno;
pub use request::{FdRequest, InfoRequest, NameRequest, ValueRequest};

/// The system calls that VFIO needs.
pub trait Sys {
    /// An open file. Dropping it closes it.
    type Fd: core::fmt::Debug;

    /// Opens `path` for reading and writing, closed on exec.
    ///
    /// # Errors
    /// What `open(2)` returns.
    fn open(&self, path: &CStr) -> Result<Self::Fd, Errno>;

    /// Asks for a structure that begins with argsz.
    ///
    /// # Implementation
    /// The length of `reply` is stored in its first four bytes before the kernel sees it (cut to
    /// `u32::MAX`), so that nothing beyond `reply` is written; [`put_argsz`] does that. Whether
    /// the answer is believed is the caller's affair.
    ///
    /// # Errors
    /// What `ioctl(2)` returns; `EINVAL` where `reply` has no room for argsz. `reply` may have
    /// been written in part.
    fn ioctl_info(
        &self,
        fd: &Self::Fd,
        request: InfoRequest,
        reply: &mut [u8],
    ) -> Result<(), Errno>;

    /// Makes a request with a plain number and returns the kernel's answer, never negative.
    ///
    /// # Errors
    /// What `ioctl(2)` returns.
    fn ioctl_value(&self, fd: &Self::Fd, request: ValueRequest, value: u32) -> Result<u32, Errno>;

    /// Makes a request that names another open file.
    ///
    /// # Errors
    /// What `ioctl(2)` returns.
    fn ioctl_fd(&self, fd: &Self::Fd, request: FdRequest, argument: &Self::Fd)
    -> Result<(), Errno>;

    /// Makes a request that opens something by its name.
    ///
    /// # Errors
    /// What `ioctl(2)` returns.
    fn ioctl_name(
        &self,
        fd: &Self::Fd,
        request: NameRequest,
        name: &CStr,
    ) -> Result<Self::Fd, Errno>;

    /// Reads at `offset` (bytes) of `fd` and returns how many bytes were read: fewer than asked
    /// is no error.
    ///
    /// # Errors
    /// What `pread(2)` returns.
    fn pread(&self, fd: &Self::Fd, buf: &mut [u8], offset: u64) -> Result<usize, Errno>;

    /// Writes at `offset` (bytes) of `fd` and returns how many bytes were written.
    ///
    /// # Errors
    /// What `pwrite(2)` returns.
    fn pwrite(&self, fd: &Self::Fd, buf: &[u8], offset: u64) -> Result<usize, Errno>;
}

/// A shim behind a reference is a shim.
impl<S: Sys + ?Sized> Sys for &S {
    type Fd = S::Fd;

    fn open(&self, path: &CStr) -> Result<Self::Fd, Errno> {
        S::open(self, path)
    }

    fn ioctl_info(
        &self,
        fd: &Self::Fd,
        request: InfoRequest,
        reply: &mut [u8],
    ) -> Result<(), Errno> {
        S::ioctl_info(self, fd, request, reply)
    }

    fn ioctl_value(&self, fd: &Self::Fd, request: ValueRequest, value: u32) -> Result<u32, Errno> {
        S::ioctl_value(self, fd, request, value)
    }

    fn ioctl_fd(
        &self,
        fd: &Self::Fd,
        request: FdRequest,
        argument: &Self::Fd,
    ) -> Result<(), Errno> {
        S::ioctl_fd(self, fd, request, argument)
    }

    fn ioctl_name(
        &self,
        fd: &Self::Fd,
        request: NameRequest,
        name: &CStr,
    ) -> Result<Self::Fd, Errno> {
        S::ioctl_name(self, fd, request, name)
    }

    fn pread(&self, fd: &Self::Fd, buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
        S::pread(self, fd, buf, offset)
    }

    fn pwrite(&self, fd: &Self::Fd, buf: &[u8], offset: u64) -> Result<usize, Errno> {
        S::pwrite(self, fd, buf, offset)
    }
}

/// Stores the length of `reply`, cut to `u32::MAX`, in its first four bytes: argsz.
///
/// # Errors
/// `EINVAL` where `reply` is shorter than that.
#[inline]
pub fn put_argsz(reply: &mut [u8]) -> Result<(), Errno> {
    let len = u32::try_from(reply.len()).unwrap_or(u32::MAX);
    match reply.first_chunk_mut::<4>() {
        Some(argsz) => {
            *argsz = len.to_ne_bytes();
            Ok(())
        }
        None => Err(Errno::EINVAL),
    }
}
