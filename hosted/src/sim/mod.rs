//! A simulated VFIO kernel in this process, behind the same shim as the real one.
//!
//! A driver that is generic over [`Sys`](vfio_core::sys::Sys) is tested with it where there is no
//! device, no IOMMU and no privilege. A [`Kernel`] has a container (`/dev/vfio/vfio`), an iommufd
//! (`/dev/iommu`), groups (`/dev/vfio/N`) and devices (`/dev/vfio/devices/vfioN`); what a device
//! is, its [`Model`] says: one of the ready-made ones, one that a test describes, or a [`Script`]
//! whose replies a test gives, hostile ones too.
//!
//! It answers as Linux does, errors included: what files owe to each other, the INFO ioctls,
//! access to regions, trapped and mapped, the mappings of type1 and of iommufd, and the whole of
//! `VFIO_DEVICE_SET_IRQS`; resets, hot ones by group and by iommufd, ioeventfds, device features,
//! migration, and dirty pages, tracked by a type1 container or logged by a device. dma-bufs are
//! refused with `ENOTTY`, as by a kernel that is built without them.
//!
//! Devices do DMA through a checked IOMMU: what is not mapped faults, transfers nothing, and is
//! kept in [`Kernel::faults`]. The time that they need for their work does not depend on the
//! machine (see [`Registers`]).
//!
//! ```
//! use vfio_core::sys::{FdRequest, NameRequest, Sys, ValueRequest};
//! use vfio_core::{wire::abi::Extension, query};
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
#![deny(unsafe_code)]

mod access;
mod bus;
mod config;
mod description;
mod device;
mod dirty;
mod dma_log;
mod dma_memory;
mod edu;
mod event;
mod exchange;
mod fault;
mod feature;
mod foreign;
mod hot_reset;
mod interrupts;
mod ioeventfd;
mod iommu;
mod iommufd;
mod kernel;
mod mapping;
mod migration;
pub mod model;
mod mtty;
mod nvme;
mod observation;
mod power;
mod registers;
mod script;
mod session;
mod space;
mod sriov;
mod supply;
#[cfg(test)]
mod tests;
mod type1;

pub use bus::Bus;
pub use config::{Bar, Config};
pub use description::{Description, DeviceCap, HotReset, MsixTable, Region, RegionCap};
pub use dma_memory::DmaMemory;
pub use edu::Edu;
pub use event::Event;
pub use fault::{DmaAccess, Fault, FaultReason};
pub use iommu::{Iommu, IommuCap};
pub use kernel::{CONTAINER_PATH, Calls, Fd, IOMMUFD_PATH, Kernel};
pub use mapping::{Mapping, MappingError};
pub use model::Model;
pub use mtty::Mtty;
pub use nvme::{
    Nvme, NvmeControl, NvmeCounts, NvmeFault, NvmeNamespace, NvmeProtection, NvmeRefusal,
};
pub use registers::{Memory, Registers};
pub use script::Script;
