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
//! Each room imports only from those before it; a test holds that.
//!
//! - [`wire`]: the parsing half. Bytes, and nothing that asks anybody: the kernel's structures,
//!   capability chains, finished replies, and the answering side.
//! - [`handle`]: how what is made of a device holds on to it, borrowed or owned.
//! - [`mmio`]: register access, mapped, trapped or simulated.
//! - [`sys`]: the shim, all that this crate asks of the world below it.
//! - [`query`]: the INFO protocol over the shim, in a buffer of any size.
//! - [`device`]: what an open device can do: regions in reach of register accesses, interrupts,
//!   reset, features, migration and the rest.
//! - [`open`]: the ways to an open device, and one API over them.
//! - [`dma`]: memory that a device reads and writes, and the addresses that it has for the device.
//! - [`pci`]: configuration space, its header, BARs and capabilities, and the MSI-X table.
//!
//! # Example
//!
//! A region from a reply that was captured with a buffer of 64 bytes:
//!
//! ```
//! use vfio_core::wire::caps::RegionCap;
//! use vfio_core::wire::info::{InfoError, RegionInfo};
//!
//! # use vfio_core::{wire::abi::RegionFlags, wire::server, sys::{InfoRequest, put_argsz}};
//! # let caps = [RegionCap::MsixMappable];
//! # let flags = RegionFlags::READ | RegionFlags::WRITE | RegionFlags::MMAP;
//! # let region = server::RegionReply { flags, size: 0x4000, offset: 0, caps: &caps };
//! # let device = server::DeviceReply { regions: &[Some(region)], ..Default::default() };
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
pub mod wire;

pub mod device;
pub mod dma;
#[expect(
    unsafe_code,
    reason = "the trait is unsafe to implement, and a projection keeps a pointer"
)]
pub mod handle;
pub mod mmio;
pub mod open;
#[cfg(doctest)]
mod ownership;
pub mod pci;
pub mod query;
pub mod sys;
