//! A kernel of which the compiler knows nothing, and values that can be anything.

use core::ffi::CStr;
use core::hint::black_box;

use vfio_core::sys::{Absent, Errno, FdRequest, InfoRequest, NameRequest, Sys, ValueRequest};

/// A kernel of which the compiler knows nothing: it may answer anything.
#[derive(Clone, Copy, Debug)]
pub struct Opaque;

/// An open file of [`Opaque`].
#[derive(Debug)]
pub struct OpaqueFd;

/// A value of which the compiler knows nothing but its type.
///
/// It is zero where it is really computed, which these programs are not made for.
#[must_use]
pub fn any<T: Copy + Default>() -> T {
    black_box(T::default())
}

/// Keeps the compiler from leaving out what computes `value`.
pub fn used<T>(value: T) {
    let _ = black_box(value);
}

/// Any result.
fn outcome<T>(value: T) -> Result<T, Errno> {
    let errno: i32 = any();
    if errno == 0 {
        Ok(value)
    } else {
        Err(Errno(errno))
    }
}

impl Sys for Opaque {
    type Fd = OpaqueFd;
    type Mapping = Absent;
    type Memory = Absent;
    type Event = Absent;

    fn page_size(&self) -> usize {
        4096
    }

    fn open(&self, path: &CStr) -> Result<OpaqueFd, Errno> {
        used(path);
        outcome(OpaqueFd)
    }

    fn ioctl_info(&self, _: &OpaqueFd, asked: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
        used(asked.number());
        // Whatever is behind the pointer may have changed.
        used(reply);
        outcome(())
    }

    fn ioctl_value(&self, _: &OpaqueFd, asked: ValueRequest, value: u32) -> Result<u32, Errno> {
        used((asked.number(), value));
        outcome(any())
    }

    fn ioctl_fd(&self, _: &OpaqueFd, asked: FdRequest, _: &OpaqueFd) -> Result<(), Errno> {
        used(asked.number());
        outcome(())
    }

    fn ioctl_name(&self, _: &OpaqueFd, asked: NameRequest, name: &CStr) -> Result<OpaqueFd, Errno> {
        used((asked.number(), name));
        outcome(OpaqueFd)
    }

    fn pread(&self, _: &OpaqueFd, buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
        used((buf, offset));
        outcome(any())
    }

    fn pwrite(&self, _: &OpaqueFd, buf: &[u8], offset: u64) -> Result<usize, Errno> {
        used((buf, offset));
        outcome(any())
    }
}
