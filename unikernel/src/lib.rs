//! The world without an operating system: `vfio-core` on bare x86-64.
//!
//! An image that links this library boots on a virtual machine, finds its PCI devices, and opens
//! them as a program on Linux does: `GuestPci` is the core's shim
//! ([`Sys`](vfio_core::sys::Sys)), and answers the VFIO ioctls itself, as Linux does without an
//! IOMMU. Whether a device is emulated or passed through by VFIO is the hypervisor's affair.
//!
//! # From the machine up
//!
//! - `boot`: the PVH entry, the command line and the [memory map](memory_map).
//! - `paging`, `exceptions`, `apic`, `interrupts`, `clock` with [`frequency`]: the processor.
//! - [`acpi`], [`pci`]: which devices there are, and where.
//! - [`shim`]: files, containers, groups, devices, memory and interrupts, as VFIO has them.
//! - `log`, `exit`: what the host sees.
//!
//! The modules without a link are there with the feature `image` alone.
//!
//! # An image
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//!
//! vfio_unikernel::entry!(main);
//!
//! fn main(boot: &Boot) -> Result<(), Error> {
//!     // SAFETY: the driver gives the device buffers of its own alone, and stops it before they go.
//!     let machine = GuestPci::new(unsafe { NoIommu::acknowledge() });
//!     machine.discover(boot)?;
//!     let (group, _) = machine.find(0x1234, 0x11e8).ok_or(Error::NoDevice)?;
//!     let mut name = [0; 13];
//!     let place = machine.place(group, &mut name).ok_or(Error::NoDevice)?;
//!     // From here on as on Linux.
//!     let session = Session::open_in(Mode::NoIommu, &machine, &place)?;
//!     let report = vfio_exercise::edu::run(machine, session)?;
//!     ...
//! }
//! ```
//!
//! The images are in `src/bin`; `cargo xtask unikernel IMAGE` builds one with the flags that it
//! needs, boots it and decodes its log.
//!
//! `examples/executor.rs` is an image that awaits interrupts as futures, with the processor halted
//! in between.
//!
//! # Another unikernel
//!
//! A unikernel that has its own way to start, its own drivers for its buses and its own interrupts
//! needs nothing of this crate: it implements [`Sys`](vfio_core::sys::Sys) over what it has, and
//! has the core's [`server`](vfio_core::wire::server) answer the INFO ioctls. What it does not have it
//! leaves out: the trait's defaults say `ENOSYS`. `examples/own-shim.rs` is a whole unikernel of
//! that kind, which boots, maps the BAR of `edu` and runs the driver on it.
//!
//! # Features
//!
//! - `defmt`: `defmt::Format` for every public type.
//! - `image`: what only a bootable image may have: the entry, the logger, the panic handler, the
//!   functions that a compiler calls on its own, and whatever touches the machine.
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
#![cfg_attr(
    all(feature = "image", not(panic = "abort"), not(test)),
    expect(
        dead_code,
        reason = "built by another profile than that of images, nothing starts them"
    )
)]

#[cfg(test)]
extern crate std;

pub mod acpi;
pub mod frequency;
pub mod memory_map;
pub mod pci;
pub mod shim;

#[cfg(feature = "image")]
#[expect(unsafe_code, reason = "the local APIC is reached by its registers")]
pub mod apic;
#[cfg(feature = "image")]
#[expect(unsafe_code, reason = "an image starts without Rust")]
pub mod boot;
#[cfg(feature = "image")]
#[expect(
    unsafe_code,
    reason = "the time stamp counter is read by an instruction"
)]
pub mod clock;
#[cfg(feature = "image")]
#[expect(unsafe_code, reason = "the processor is told where its tables are")]
pub mod exceptions;
#[cfg(feature = "image")]
pub mod exit;
#[cfg(feature = "image")]
pub mod interrupts;
#[cfg(feature = "image")]
#[expect(unsafe_code, reason = "a logger is unsafe to implement")]
pub mod log;
#[cfg(feature = "image")]
#[expect(unsafe_code, reason = "the processor is told where its tables are")]
pub mod paging;
#[cfg(feature = "image")]
#[expect(unsafe_code, reason = "what the firmware left is read where it lies")]
pub mod physical;
#[cfg(feature = "image")]
#[expect(unsafe_code, reason = "I/O ports are reached by instructions")]
mod port;
#[cfg(feature = "image")]
#[expect(unsafe_code, reason = "registers are read and written")]
mod registers;
#[cfg(all(feature = "image", panic = "abort"))]
#[expect(unsafe_code, reason = "they are what C gives, under C's names")]
mod runtime;

#[cfg(feature = "image")]
#[doc(hidden)]
pub use defmt as _defmt;
#[cfg(feature = "image")]
pub use shim::GuestPci;

/// Returns a number of bytes of this machine, whose addresses have 64 bits.
pub(crate) fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
