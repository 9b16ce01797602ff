//! Tries the drivers of `vfio-drivers` on a device, step by step.
//!
//! [`edu::exercise`], [`nvme::exercise`], [`virtio_net::exercise`] and [`virtio_blk::exercise`] do
//! all that a driver can do and return a [`Report`]: each step with its [`Outcome`]. [`edu::run`]
//! and the like bring the device up before.
//! [`nvme::random_reads`] counts what a read costs the processor.
//!
//! Nothing here is needed to drive a device. It uses the drivers as any program does, by what they
//! make public, in every world, and needs no heap and no operating system.
#![no_std]
#![forbid(unsafe_code)]
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

#[macro_use]
mod steps;

mod clock;
pub mod edu;
pub mod nvme;
mod report;
mod run_error;
pub mod virtio_blk;
pub mod virtio_net;
mod virtio_run_error;

pub use report::{Outcome, Report};
pub use run_error::RunError;
pub use virtio_run_error::VirtioRunError;
