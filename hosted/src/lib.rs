//! VFIO on Linux.
#![cfg_attr(not(feature = "std"), no_std)]

#[cfg(feature = "std")]
pub mod discovery;
pub mod linux;
#[cfg(feature = "report")]
pub mod report;
#[cfg(feature = "std")]
pub mod sim;

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
