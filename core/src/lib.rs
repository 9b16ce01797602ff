//! VFIO without a heap and without an operating system.
//!
//! VFIO is how Linux hands a PCI device to user space. Its INFO ioctls answer with *capability
//! chains*: linked lists of offsets inside one buffer. This crate reads, asks for and writes
//! those chains in buffers that its caller lends, and opens devices, behind a small system-call
//! shim. It trusts nothing that it reads: a malformed reply is a typed error that says what is
//! wrong and where, never a panic, an endless loop, or an empty list.
//!
//! # From the bytes up
//!
//! - [`abi`]: the kernel's structures and numbers, and nothing else.
//! - [`chain`]: a reader over `&[u8]` that checks a chain once as a whole, and a writer that
//!   lays one out as the kernel does.
//! - [`caps`]: typed capabilities for each INFO ioctl; what is unknown is kept.
//! - [`info`]: finished replies, interpreted.
//! - [`sys`]: the shim, all that this crate asks of the world below it.
//! - [`query`]: the INFO protocol over the shim, in a buffer of any size.
//! - [`container`], [`iommufd`], [`device`]: what is open, closed on drop.
//! - [`handle`]: how what is made of a device holds on to it, borrowed or owned.
//! - [`session`]: a device that is open for driving, in whichever way the system has.
//! - [`iova`]: the addresses that a device uses for memory, given out and taken back.
//! - [`dma`]: memory that a device reads and writes.
//! - [`irq`]: interrupts as events.
//! - [`coverage`], [`region`]: which bytes of a region can be mapped, and bringing them into reach.
//! - [`mmio`]: register access, mapped, trapped or simulated.
//! - [`feature`], [`reset`], [`ioeventfd`], [`migration`]: what a device can be told beyond its
//!   registers and interrupts.
//! - [`dirty`], [`dma_buf`], [`display`]: what was written by DMA, BARs for other devices, planes.
//! - [`pci`]: configuration space, its header, BARs and capabilities, and the MSI-X table.
//! - [`server`]: the answering side, for where there is no kernel to ask.
//!
//! # Example
//!
//! A region from a reply that was captured with a buffer of 64 bytes:
//!
//! ```
//! use vfio_core::caps::RegionCap;
//! use vfio_core::info::{InfoError, RegionInfo};
//!
//! # use vfio_core::{abi::RegionFlags, server, sys::{InfoRequest, put_argsz}};
//! # let caps = [RegionCap::MsixMappable];
//! # let flags = RegionFlags::READ | RegionFlags::WRITE | RegionFlags::MMAP;
//! # let region = server::Region { flags, size: 0x4000, offset: 0, caps: &caps };
//! # let device = server::Device { regions: &[Some(region)], ..Default::default() };
//! # let mut reply = [0; 64];
//! # put_argsz(&mut reply).unwrap();
//! # device.answer(InfoRequest::Region, &mut reply).unwrap();
//! match RegionInfo::decode(&reply) {
//!     Ok(region) => {
//!         assert_eq!(region.size, 0x4000);
//!         assert!(region.is_msix_mappable());
//!         for capability in region.caps {
//!             if let RegionCap::SparseMmap(sparse) = capability {
//!                 println!("{:?}", sparse.areas);
//!             }
//!         }
//!     }
//!     Err(InfoError::TooSmall { head, needed }) => {
//!         println!("{} bytes of region; the reply needs {needed}", head.size);
//!     }
//!     Err(InfoError::Malformed(error)) => println!("{error} (offset {})", error.offset()),
//! }
//! ```
//!
//! # Features
//!
//! None is on by default, and each only adds.
//!
//! - `alloc`: `Arc` and `Rc` as handles ([`handle`]).
//! - `std`: conversions to `std::io::Error`, and `Vec<u8>` as a buffer that grows.
//! - `log`: events through the `log` facade.
//! - `defmt`: events through defmt, and `defmt::Format` for every public type.
//! - `pci_types`: [`pci`]'s config spaces as a `ConfigRegionAccess` of the crate `pci_types`.
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

#[cfg(any(feature = "std", test))]
extern crate std;

#[cfg(feature = "alloc")]
extern crate alloc;

#[macro_use]
mod fmt;

#[macro_use]
pub mod abi;
pub mod caps;
pub mod chain;
#[cfg(feature = "pci_types")]
mod config_region;
pub mod container;
pub mod coverage;
pub mod device;
pub mod dirty;
pub mod display;
pub mod dma;
pub mod dma_buf;
pub mod feature;
#[expect(
    unsafe_code,
    reason = "the trait is unsafe to implement, and a projection keeps a pointer"
)]
pub mod handle;
pub mod info;
pub mod ioeventfd;
pub mod iommufd;
pub mod iova;
pub mod irq;
pub mod migration;
pub mod mmio;
#[cfg(doctest)]
mod ownership;
pub mod pci;
pub mod query;
pub mod region;
pub mod reset;
pub mod server;
pub mod session;
pub mod sys;
