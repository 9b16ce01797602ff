//! Shims that threads share.

use super::Sys;

/// A shim that threads may share, with everything it gives: itself, its files, mappings, memory and events.
///
/// It is what generic code asks for to send a driver to a thread. Every shim has it of which that
/// is true.
///
#[cfg_attr(feature = "alloc", doc = "```")]
#[cfg_attr(not(feature = "alloc"), doc = "```ignore")]
/// use std::sync::Arc;
/// use std::thread::{self, JoinHandle};
/// use vfio_core::wire::abi::pci_irq;
/// use vfio_core::device::Device;
/// use vfio_core::device::irq::{IrqError, Vectors};
/// use vfio_core::sys::SyncSys;
///
/// fn serve<S: SyncSys + 'static>(device: Arc<Device<S>>) -> JoinHandle<Result<(), IrqError>> {
///     thread::spawn(move || {
///         let _vectors = Vectors::<_, 4>::new(device, pci_irq::MSIX)?;
///         Ok(())
///     })
/// }
/// ```
pub trait SyncSys:
    Sys<Fd: Send + Sync, Mapping: Send + Sync, Memory: Send + Sync, Event: Send + Sync> + Send + Sync
{
}

impl<S> SyncSys for S where
    S: Sys<Fd: Send + Sync, Mapping: Send + Sync, Memory: Send + Sync, Event: Send + Sync>
        + Send
        + Sync
{
}
