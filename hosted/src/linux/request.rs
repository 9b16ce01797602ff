//! The requests of the shim in the form that rustix passes on.

use core::ffi::{CStr, c_void};
use core::marker::PhantomData;
use core::ptr;

use rustix::fd::{AsRawFd, RawFd};
use rustix::io::Result;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};
use vfio_core::sys::{ExchangeRequest, FdRequest, InfoRequest, NameRequest, Parts, ValueRequest};

use super::Fd;

/// An INFO request, and the memory for its answer.
pub(super) struct Info<'a> {
    request: InfoRequest,
    reply: &'a mut [u8],
}

/// A request whose argument is a number.
pub(super) struct Value {
    request: ValueRequest,
    value: u32,
}

/// A request whose argument points at a file descriptor, which is borrowed meanwhile.
pub(super) struct PassFd<'a> {
    request: FdRequest,
    number: RawFd,
    borrowed: PhantomData<&'a Fd>,
}

/// A request whose argument is a C string.
pub(super) struct Name<'a> {
    request: NameRequest,
    name: &'a CStr,
}

/// A request whose argument is a structure that was checked.
pub(super) struct Structure<'a> {
    request: ExchangeRequest,
    argument: &'a mut [u8],
}

impl<'a> Structure<'a> {
    pub(super) const fn new<F, E>(parts: &'a mut Parts<'_, F, E>) -> Self {
        Self {
            request: parts.request,
            argument: parts.argument,
        }
    }
}

impl<'a> Info<'a> {
    /// Writes argsz to the start of `reply`.
    pub(super) const fn new(request: InfoRequest, reply: &'a mut [u8]) -> Self {
        Self { request, reply }
    }
}

impl Value {
    pub(super) const fn new(request: ValueRequest, value: u32) -> Self {
        Self { request, value }
    }
}

impl<'a> PassFd<'a> {
    pub(super) fn new(request: FdRequest, argument: &'a Fd) -> Self {
        Self {
            request,
            number: argument.as_raw_fd(),
            borrowed: PhantomData,
        }
    }
}

impl<'a> Name<'a> {
    pub(super) const fn new(request: NameRequest, name: &'a CStr) -> Self {
        Self { request, name }
    }
}

// SAFETY: the kernel is given the start of `reply`, which it may read and write, for as long as
// the call lasts. The output is not taken from the pointer.
unsafe impl Ioctl for Info<'_> {
    type Output = ();

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        Opcode::from(self.request.number())
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.reply.as_mut_ptr().cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> Result<()> {
        Ok(())
    }
}

// SAFETY: the argument is a number in the place of a pointer: no memory is touched. The output
// is not taken from the pointer.
unsafe impl Ioctl for Value {
    type Output = IoctlOutput;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        Opcode::from(self.request.number())
    }

    fn as_ptr(&mut self) -> *mut c_void {
        // Linux runs on no target where usize is shorter than u32.
        ptr::without_provenance_mut(self.value as usize)
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> Result<IoctlOutput> {
        Ok(output)
    }
}

// SAFETY: the kernel is given a pointer to an `i32`, valid for as long as the call lasts, and
// writes nothing. The output is not taken from the pointer.
unsafe impl Ioctl for PassFd<'_> {
    type Output = ();

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        Opcode::from(self.request.number())
    }

    fn as_ptr(&mut self) -> *mut c_void {
        ptr::from_mut(&mut self.number).cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> Result<()> {
        Ok(())
    }
}

// SAFETY: the kernel is given a C string, valid for as long as the call lasts, and writes
// nothing. The output is not taken from the pointer.
unsafe impl Ioctl for Name<'_> {
    type Output = RawFd;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        Opcode::from(self.request.number())
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.name.as_ptr().cast_mut().cast()
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> Result<RawFd> {
        Ok(output)
    }
}

// SAFETY: the kernel is given the start of the structure, which it may read and write, for as
// long as the call lasts. The output is not taken from the pointer.
unsafe impl Ioctl for Structure<'_> {
    type Output = IoctlOutput;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        Opcode::from(self.request.number())
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.argument.as_mut_ptr().cast()
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> Result<IoctlOutput> {
        Ok(output)
    }
}
