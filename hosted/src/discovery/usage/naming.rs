//! Finding a device by what the system calls the things behind it.

use std::fs;
use std::path::Path;

use crate::discovery::{Address, DiscoveryError, System};

impl System {
    /// Returns the PCI devices behind a network interface or a block device, by its name (`eth0`, `nvme0n1`): several
    /// where a disk has several controllers, none where the name is unknown or no PCI device is behind it.
    ///
    /// # Errors
    /// [`DiscoveryError`] where the devices can't be listed.
    pub fn behind(&self, name: &str) -> Result<Vec<Address>, DiscoveryError> {
        let interface = self.sysfs.join("class/net").join(name);
        // A name is one component of a path.
        let is_name = Path::new(name).file_name().is_some_and(|own| own == name);
        if is_name && let Ok(target) = fs::read_link(interface) {
            let parts = target.iter().rev().filter_map(|part| part.to_str());
            return Ok(parts.filter_map(|part| part.parse().ok()).take(1).collect());
        }
        let mut found = Vec::new();
        for device in self.devices()? {
            let blocks = self.blocks(device.address);
            if blocks.iter().any(|block| block.name == name) {
                found.push(device.address);
            }
        }
        Ok(found)
    }
}
