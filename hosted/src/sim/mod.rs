//! A simulated VFIO kernel in this process, behind the same shim as the real one.
//!
//! A driver that is generic over [`Sys`](vfio_core::sys::Sys) is tested with it where there is no
//! device, no IOMMU and no privilege. A [`Kernel`] has a container (`/dev/vfio/vfio`), an iommufd
//! (`/dev/iommu`), groups (`/dev/vfio/N`) and devices (`/dev/vfio/devices/vfioN`), each of which is
//! a [`Model`](crate::model::Model).
//!
//! It answers as Linux does, errors included: what files owe to each other, the INFO ioctls,
//! access to regions, trapped and mapped, the mappings of type1 and of iommufd, and the whole of
//! `VFIO_DEVICE_SET_IRQS`; resets, hot ones by group and by iommufd, ioeventfds, device features,
//! migration, and dirty pages, tracked by a type1 container or logged by a device. dma-bufs are
//! refused with `ENOTTY`, as by a kernel that is built without them.
//!
//! Devices do DMA through a checked IOMMU: what is not mapped faults, transfers nothing, and is
//! kept in [`Kernel::faults`].
//!
//! # Time
//!
//! For devices time passes by one [step](crate::model::Registers#time) before each read of a region
//! and each look at an event or at the clock, and on and on while somebody waits for an event. The
//! clock goes on by 50 µs whenever it is looked at, and by how long an event was waited for in
//! vain.
//!
//! ```
//! use vfio_core::sys::{FdRequest, NameRequest, Sys, ValueRequest};
//! use vfio_core::{wire::abi::Extension, query};
//! use vfio_hosted::model;
//! use vfio_hosted::sim::{self, Kernel};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let kernel = Kernel::new().with_device("0000:00:05.0", model::edu(), 26);
//! let container = kernel.open(sim::CONTAINER_PATH)?;
//! let group = kernel.open(c"/dev/vfio/26")?;
//! kernel.ioctl_fd(&group, FdRequest::SetContainer, &container)?;
//! kernel.ioctl_value(&container, ValueRequest::SetIommu, Extension::TYPE1V2_IOMMU.0)?;
//! let device = kernel.ioctl_name(&group, NameRequest::GetDeviceFd, c"0000:00:05.0")?;
//!
//! let mut reply = [0; 64];
//! let bar = query::region(&kernel, &device, 0, &mut reply)?;
//! let mut identification = [0; 4];
//! kernel.pread(&device, &mut identification, bar.offset)?;
//! assert_eq!(u32::from_le_bytes(identification), 0x0100_00ed);
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)]

mod answer;
mod bitmap;
mod device;
mod files;
mod handle;
mod kernel;
mod ledger;
mod memory;
mod pages;
mod signal;
mod structure;
#[cfg(test)]
mod tests;

pub use device::MappingError;
pub use handle::{Event, Fd, Mapping};
pub use kernel::{CONTAINER_PATH, IOMMUFD_PATH, Kernel};
pub use ledger::Calls;
pub use memory::DmaMemory;
