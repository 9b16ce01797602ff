//! Finding a device by what the system calls the things behind it.

use std::fs;

use crate::discovery::{Address, DiscoveryError, System};

impl System {
    /// Returns the PCI devices behind a network interface or a block device, by its name (`eth0`, `nvme0n1`): several
    /// where a disk has several controllers, none where the name is unknown or no PCI device is behind it.
    ///
    /// # Errors
    /// [`DiscoveryError`] where the devices can't be listed.
    pub fn behind(&self, name: &str) -> Result<Vec<Address>, DiscoveryError> {
        // The device itself, and not what lies between it and the processor.
        let interface = self.class("net").into_iter().find(|(own, _)| own == name);
        if let Some((_, path)) = interface {
            let target = fs::read_link(path).unwrap_or_default();
            let parts = target.iter().rev().filter_map(|part| part.to_str());
            let address = parts.filter_map(|part| part.parse().ok()).next();
            return Ok(address.into_iter().collect());
        }
        let mut addresses: Vec<_> = self
            .devices()?
            .iter()
            .map(|device| device.address)
            .collect();
        addresses.retain(|address| self.blocks(*address).iter().any(|block| block.name == name));
        Ok(addresses)
    }
}
