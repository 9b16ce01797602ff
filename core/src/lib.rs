//! VFIO without a heap and without an operating system.
#![no_std]
#![deny(unsafe_code)]

pub mod abi;
