//! virtio: devices of virtual machines, and of hardware that is like them (Virtual I/O Device
//! Specification 1.2, OASIS).
//!
//! A [`Transport`] is the way to a device; [`PciTransport`] is that of devices on PCI. On it stand
//! the drivers: [`net`] for network cards, [`blk`] for disks.
//!
//! # Memory
//!
//! A device may write the memory of a request until it said that it used it, or until it is known
//! to be reset, whatever went wrong. All memory that the device reaches is therefore the driver's.
//! Where nothing tells that a device is reset, its memory is never given back.
//!
//! A device without `VIRTIO_F_ACCESS_PLATFORM` does not go through the IOMMU. Behind one its
//! addresses would be those of any memory: it is not started ([`VirtioError::NotConfined`]).
//!
//! # Trust
//!
//! Nothing that the device writes is believed: a used entry counts only for a request that the
//! device has, with a length that it may write. What does not fit is a typed error, and the device
//! is reset.

pub mod blk;
mod capability;
mod device;
mod error;
mod features;
pub mod net;
mod pci;
mod queue;
mod registers;
mod transport;

pub use capability::{Place, Structure};
pub use error::{Misfit, Refusal, VirtioError};
pub use features::Features;
pub use pci::{OpenError, PciTransport};
pub use transport::{Doorbell, QueueSetup, Transport};

pub use crate::state::State;
