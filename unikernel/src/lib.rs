//! The world without an operating system: `vfio-core` on bare x86-64.
//!
//! Here the core's system-call shim will be answered by the core's own `server`, over the PCI
//! device that a hypervisor passes through.
#![no_std]
