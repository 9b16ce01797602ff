//! A simulated VFIO kernel in this process, behind the same shim as the real one.
//!
//! A driver that is generic over [`Sys`](vfio_core::sys::Sys) is tested with it where there is no
//! device, no IOMMU and no privilege. A [`Kernel`] has a container (`/dev/vfio/vfio`), groups
//! (`/dev/vfio/N`) and devices; what a device is, its [`Model`] says: one of the ready-made ones,
//! one that a test describes, or a [`Script`] whose replies a test gives, hostile ones too.
//!
//! It answers as Linux does, errors included: what a group, a container and a device owe to each
//! other (drivers/vfio/group.c and container.c), the INFO ioctls, and trapped access to regions
//! (drivers/vfio/pci/vfio_pci_rdwr.c). There is no DMA and there are no interrupts yet.
//!
//! ```
//! use vfio_core::sys::{FdRequest, NameRequest, Sys, ValueRequest};
//! use vfio_core::{abi::Extension, query};
//! use vfio_hosted::sim::{self, Kernel, model};
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
#![forbid(unsafe_code)]

mod config;
mod description;
mod device;
mod edu;
mod iommu;
mod kernel;
pub mod model;
mod registers;
mod script;
mod session;
#[cfg(test)]
mod tests;

pub use config::{Bar, Config};
pub use description::{Description, DeviceCap, HotReset, MsixTable, Region, RegionCap};
pub use edu::Edu;
pub use iommu::{Iommu, IommuCap};
pub use kernel::{CONTAINER_PATH, Calls, Fd, Kernel};
pub use model::Model;
pub use registers::{Memory, Registers};
pub use script::Script;
