//! VFIO without a heap and without an operating system.
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

pub mod abi;
pub mod caps;
pub mod chain;
pub mod container;
pub mod coverage;
pub mod device;
pub mod info;
pub mod query;
pub mod server;
pub mod sys;
