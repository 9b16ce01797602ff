//! Handles to a device.

use super::Device;
use crate::handle::Handle;
use crate::sys::Sys;

/// A handle to an open device: `&Device<S>`, `Arc<Device<S>>` and the like.
pub trait DeviceHandle: Handle<Target = Device<<Self as DeviceHandle>::Sys>> {
    /// The shim below.
    type Sys: Sys;
}

impl<S: Sys, H: Handle<Target = Device<S>>> DeviceHandle for H {
    type Sys = S;
}
