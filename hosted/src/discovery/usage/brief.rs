//! What the system has through a device, in a word: read from sysfs and the tables alone, for many devices at once.

use core::fmt;

use super::tables::Tables;
use super::{Usage, is_up};
use crate::discovery::{SysfsDevice, System};

/// Something that the system has through a device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// The firmware and the console draw on it.
    Display,
    /// A file system on one of its disks is mounted here.
    Mount {
        /// Where.
        at: String,
    },
    /// The system swaps to one of its disks.
    Swap {
        /// The disk or partition.
        block: String,
    },
    /// One of its disks is part of something else.
    Part {
        /// The disk or partition.
        block: String,
        /// The other block device, or the file system.
        by: String,
    },
    /// A disk that no table names.
    Disk {
        /// Its name.
        block: String,
    },
    /// A network interface.
    Interface {
        /// Its name.
        name: String,
        /// Whether it was brought up.
        is_up: bool,
    },
}

impl Role {
    /// Tells whether something would be lost with the device, as far as the tables tell.
    #[must_use]
    pub const fn is_in_use(&self) -> bool {
        !matches!(
            self,
            Self::Disk { .. } | Self::Interface { is_up: false, .. }
        )
    }
}

impl System {
    /// Returns for each device what the system has through it.
    ///
    /// Nothing is opened, and no process is looked at: [`System::usages`] does that for one device. What can't be read
    /// counts as nothing.
    #[must_use]
    pub fn roles(&self, devices: &[SysfsDevice]) -> Vec<Vec<Role>> {
        let tables = Tables::read(self);
        let of = |device| self.roles_of(device, &tables);
        devices.iter().map(of).collect()
    }

    fn roles_of(&self, device: &SysfsDevice, tables: &Tables) -> Vec<Role> {
        let mut roles = Vec::new();
        if self.is_boot_display(device.address) {
            roles.push(Role::Display);
        }
        let blocks = self.blocks(device.address);
        for block in &blocks {
            roles.extend(tables.usages(block).into_iter().filter_map(role));
        }
        if roles.is_empty() {
            let disks = blocks.into_iter().filter(|block| block.disk.is_none());
            roles.extend(disks.map(|disk| Role::Disk { block: disk.name }));
        }
        for (name, path) in self.interfaces(device.address) {
            let is_up = is_up(&path);
            roles.push(Role::Interface { name, is_up });
        }
        roles
    }
}

/// Returns the role behind a usage that a table tells.
fn role(usage: Usage) -> Option<Role> {
    match usage {
        Usage::Mounted { at, .. } | Usage::MountedElsewhere { at, .. } => Some(Role::Mount { at }),
        Usage::Swap { block } => Some(Role::Swap { block }),
        Usage::Held { block, by } => Some(Role::Part { block, by }),
        _ => None,
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Display => f.write_str("display"),
            Self::Mount { at } => f.write_str(at),
            Self::Swap { .. } => f.write_str("swap"),
            Self::Part { by, .. } => f.write_str(by),
            Self::Disk { block } => f.write_str(block),
            Self::Interface { name, .. } => f.write_str(name),
        }
    }
}
