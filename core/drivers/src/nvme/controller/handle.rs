//! Handles to a controller: how a queue pair holds on to it.

use vfio_core::device::DeviceHandle;
use vfio_core::dma::DmaHandle;
use vfio_core::handle::Handle;
use vfio_core::mmio::Access;

use super::Controller;

/// A handle to a controller: `&Controller`, `Arc<Controller>` and the like.
pub trait ControllerHandle:
    Handle<
    Target = Controller<
        <Self as ControllerHandle>::Device,
        <Self as ControllerHandle>::Dma,
        <Self as ControllerHandle>::Access,
    >,
>
{
    /// Its handle to the device.
    type Device: DeviceHandle;
    /// Its handle to the address space.
    type Dma: DmaHandle;
    /// How its registers are reached.
    type Access: Access;
}

impl<D, M, A, H> ControllerHandle for H
where
    D: DeviceHandle,
    M: DmaHandle,
    A: Access,
    H: Handle<Target = Controller<D, M, A>>,
{
    type Device = D;
    type Dma = M;
    type Access = A;
}
