//! What a driver takes of a session.

use super::{Dma, DmaError};
use crate::device::Device;
use crate::open::Session;
use crate::sys::Sys;

impl<S: Sys + Clone> Session<S> {
    /// Splits the session into what a driver holds handles to: the device, and its address space
    /// with room for 64 mappings and holes.
    ///
    /// ```
    /// use vfio_core::wire::abi::pci_region;
    /// use vfio_core::dma::Direction;
    /// use vfio_core::open::Session;
    /// use vfio_core::sys::Sys;
    ///
    /// fn drive<S: Sys + Clone>(session: Session<S>) -> Result<(), Box<dyn std::error::Error>> {
    ///     let (device, dma) = session.split()?;
    ///     let bar0 = device.bring_up(pci_region::BAR0)?;
    ///     let ring = dma.buffer(4096, Direction::Both)?;
    ///     println!("{} bytes of registers, the ring is at {:#x}", bar0.len(), ring.iova());
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Dma::new`]; the session is closed then.
    pub fn split(self) -> Result<(Device<S>, Dma<S>), DmaError> {
        self.split_with_room()
    }

    /// Splits the session as [`Session::split`] does, with room for `N` mappings and holes.
    ///
    /// # Errors
    /// As [`Dma::new`]; the session is closed then.
    pub fn split_with_room<const N: usize>(self) -> Result<(Device<S>, Dma<S, N>), DmaError> {
        let dma = Dma::new(self.device.sys().clone(), self.space)?;
        Ok((self.device, dma))
    }
}
