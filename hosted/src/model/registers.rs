//! What is behind the regions of a device.

use std::vec::Vec;

use vfio_core::sys::Errno;

use super::Bus;

/// The registers of a device: what reading and writing its regions does.
///
/// The configuration space (region 7) is not among them. As with vfio-pci an access is 1, 2, 4 or
/// 8 bytes long and aligned to its length; the shim's reads and writes are taken apart.
///
/// # Time
///
/// A device that needs time for its work does it in [`Registers::advance`], step by step. Whoever
/// has the device lets time pass by such steps, so that how long work takes does not depend on the
/// machine.
pub trait Registers: Send {
    /// Reads at `offset`, in bytes from the start of the region.
    fn read(&mut self, region: u32, offset: u64, data: &mut [u8], bus: &mut Bus<'_>);

    /// Writes at `offset`, in bytes from the start of the region.
    fn write(&mut self, region: u32, offset: u64, data: &[u8], bus: &mut Bus<'_>);

    /// Lets time pass by one step; tells whether there is more to do.
    fn advance(&mut self, bus: &mut Bus<'_>) -> bool {
        let _ = bus;
        false
    }

    /// Resets the device.
    fn reset(&mut self, bus: &mut Bus<'_>);

    /// Returns the first data of a migration, which can be read while the device still runs.
    fn initial(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Returns the state of the stopped device, which follows in the data of a migration.
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Looks at the data of a migration that were written so far.
    ///
    /// # Errors
    /// What writing them returns: they are not taken then.
    fn accept(&self, data: &[u8]) -> Result<(), Errno> {
        let _ = data;
        Ok(())
    }

    /// Takes the state over from the data of a migration.
    ///
    /// # Errors
    /// `EINVAL` where they are not the device's.
    fn restore(&mut self, data: &[u8]) -> Result<(), Errno> {
        if data.is_empty() {
            Ok(())
        } else {
            Err(Errno::EINVAL)
        }
    }
}
