//! NVMe: a driver for controllers on PCI Express (NVM Express Base Specification 1.4 and later).
//!
//! A [`Controller`] is started on an open device. It says what it is and which [`Namespace`]s it
//! has, and creates [`QueuePair`]s, through which blocks are read and written:
//!
//! ```
//! use vfio_core::device::Device;
//! use vfio_core::dma::Dma;
//! use vfio_core::mmio::{Access, Window};
//! use vfio_core::sys::Sys;
//! use vfio_drivers::nvme::{Controller, NvmeError, Options, QueueOptions};
//!
//! /// Reads the first block of namespace 1.
//! fn first_block<S: Sys, A: Access>(
//!     device: &Device<S>,
//!     bar0: Window<A>,
//!     dma: &Dma<S, 64>,
//!     block: &mut [u8],
//! ) -> Result<(), NvmeError<A::Error>> {
//!     let controller = Controller::start(device, bar0, dma, Options::default())?;
//!     let namespace = controller.namespace(1)?;
//!     let mut queue = controller.queue_pair::<32>(QueueOptions::default())?;
//!     queue.read_blocks(&namespace, 0, block)
//! }
//! ```
//!
//! # Memory
//!
//! A device may write the memory of a command until the command completed, or until the device is
//! known to have stopped, whatever went wrong. All memory that the device reaches is therefore the
//! driver's: the data of commands lie in the [`Slot`]s of a queue pair, which are the caller's
//! while no command uses them. Where nothing tells that a device has stopped, its memory is never
//! given back.
//!
//! # Trust
//!
//! Nothing that the device writes is believed: a completion counts only for a command that is
//! under way in its queue. What does not fit is a typed error, and the controller is stopped.

mod admin;
mod blocks;
mod command;
mod completion;
mod controller;
mod create;
mod doorbell;
mod entries;
mod error;
mod identify;
mod identity;
mod log;
mod namespace;
mod protection;
mod queue;
mod registers;
mod slot;
mod status;
mod submission;
mod transfer;
mod wait;

pub use controller::{Controller, ControllerHandle, Options, State};
pub use error::{Misfit, NvmeError, Refusal};
pub use identify::{ControllerInfo, Text};
pub use log::{ErrorEntry, Event, EventKind, Health};
pub use namespace::{LbaFormat, Namespace};
pub use queue::{CommandId, Completion, ErrorOf, QueueOptions, QueuePair, Refused, SlotWindow};
pub use registers::{Capabilities, Version};
pub use slot::Slot;
pub use status::{Status, StatusCode, StatusType};
