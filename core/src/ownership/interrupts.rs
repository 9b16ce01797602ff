//! Interrupts belong to one user.
//!
//! [`Vectors`](crate::device::irq::Vectors) are at most 64:
//! ```
//! # use std::ffi::CStr;
//! # use vfio_core::{device::Device, device::irq::Vectors, sys::*};
//! # struct Nobody;
//! # impl Sys for Nobody {
//! #     type Fd = ();
//! #     type Mapping = Absent;
//! #     type Memory = Absent;
//! #     type Event = Absent;
//! #     fn open(&self, _: &CStr) -> Result<(), Errno> { Err(Errno::ENOENT) }
//! #     fn ioctl_info(&self, _: &(), _: InfoRequest, _: &mut [u8]) -> Result<(), Errno> { Err(Errno::ENOTTY) }
//! #     fn ioctl_value(&self, _: &(), _: ValueRequest, _: u32) -> Result<u32, Errno> { Err(Errno::ENOTTY) }
//! #     fn ioctl_fd(&self, _: &(), _: FdRequest, _: &()) -> Result<(), Errno> { Err(Errno::ENOTTY) }
//! #     fn ioctl_name(&self, _: &(), _: NameRequest, _: &CStr) -> Result<(), Errno> { Err(Errno::ENOTTY) }
//! #     fn pread(&self, _: &(), _: &mut [u8], _: u64) -> Result<usize, Errno> { Err(Errno::EIO) }
//! #     fn pwrite(&self, _: &(), _: &[u8], _: u64) -> Result<usize, Errno> { Err(Errno::EIO) }
//! #     fn page_size(&self) -> usize { 4096 }
//! # }
//! let device = Device::new(Nobody, ());
//! let _ = device.vectors::<64>(2);
//! ```
//! ```compile_fail,E0080
//! # use std::ffi::CStr;
//! # use vfio_core::{device::Device, device::irq::Vectors, sys::*};
//! # struct Nobody;
//! # impl Sys for Nobody {
//! #     type Fd = ();
//! #     type Mapping = Absent;
//! #     type Memory = Absent;
//! #     type Event = Absent;
//! #     fn open(&self, _: &CStr) -> Result<(), Errno> { Err(Errno::ENOENT) }
//! #     fn ioctl_info(&self, _: &(), _: InfoRequest, _: &mut [u8]) -> Result<(), Errno> { Err(Errno::ENOTTY) }
//! #     fn ioctl_value(&self, _: &(), _: ValueRequest, _: u32) -> Result<u32, Errno> { Err(Errno::ENOTTY) }
//! #     fn ioctl_fd(&self, _: &(), _: FdRequest, _: &()) -> Result<(), Errno> { Err(Errno::ENOTTY) }
//! #     fn ioctl_name(&self, _: &(), _: NameRequest, _: &CStr) -> Result<(), Errno> { Err(Errno::ENOTTY) }
//! #     fn pread(&self, _: &(), _: &mut [u8], _: u64) -> Result<usize, Errno> { Err(Errno::EIO) }
//! #     fn pwrite(&self, _: &(), _: &[u8], _: u64) -> Result<usize, Errno> { Err(Errno::EIO) }
//! #     fn page_size(&self) -> usize { 4096 }
//! # }
//! let device = Device::new(Nobody, ());
//! let _ = device.vectors::<65>(2);
//! ```
