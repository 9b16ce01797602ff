//! VFIO on Linux, and without it: the worlds of `vfio-core` that have an operating system.
//!
//! - [`linux`]: the system-call shim on the running kernel; without the feature `std` it needs
//!   no libc.
//! - `discovery`: PCI devices in sysfs, what stands in the way of opening each, and binding them
//!   to vfio-pci and back (feature `std`).
//! - `model`: devices in software, for tests without hardware (feature `std`).
//! - `sim`: a VFIO kernel in this process, which has such devices (feature `std`).
//! - `vfio_user`: devices of other processes over a socket, and models for other processes (feature
//!   `std`).
//! - `failing`: a shim over another one, whose calls fail when a test says so (feature `std`).
//! - `OwnedPlace`: where either finds a device, to open a session at (feature `std`).
//! - `report`: INFO replies and devices for people and programs (feature `report`).
//!
//! The program `vfio`, in a package of its own (`vfio-cli`), is built from these.
#![cfg_attr(not(feature = "std"), no_std)]

#[cfg(feature = "std")]
pub mod discovery;
#[cfg(feature = "std")]
pub mod failing;
pub mod linux;
#[cfg(feature = "std")]
mod lock;
#[cfg(feature = "std")]
pub mod model;
#[cfg(feature = "std")]
mod place;
#[cfg(feature = "report")]
pub mod report;
#[cfg(feature = "std")]
pub mod sim;
#[cfg(feature = "std")]
pub mod vfio_user;

#[cfg(feature = "std")]
pub use place::OwnedPlace;

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
