//! Drivers on `vfio-core`, each written once.
//!
//! A driver here needs no heap and no operating system. It is generic over the world: the shim
//! [`Sys`](vfio_core::sys::Sys) gives it memory and interrupts, and
//! [`Access`](vfio_core::mmio::Access) its registers. It runs unchanged on Linux, on the simulated
//! kernel, and in a unikernel. The package `vfio-exercise` tries all that they can do, step by step.
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
        clippy::unwrap_used
    )
)]

pub mod edu;
pub mod igb;
pub mod nic;
pub mod nvme;
mod state;
pub mod virtio;
