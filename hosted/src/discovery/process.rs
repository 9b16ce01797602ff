//! Processes that have a device open.

use core::fmt;
use std::fs;
use std::path::PathBuf;

use super::sysfs;
use super::{Device, System};

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub id: u32,
    /// Its name, as `/proc/ID/comm` gives it.
    pub name: String,
}

impl System {
    /// The processes that have the device's group or the device's own character device open, as far as this process
    /// may see.
    ///
    /// A driver waits for them where the device is taken away from it.
    #[must_use]
    pub fn processes_with(&self, device: &Device) -> Vec<Process> {
        let nodes = self.nodes(device);
        let mut processes = Vec::new();
        for (name, path) in sysfs::entries(&self.proc).unwrap_or_default() {
            let Ok(id) = name.parse() else { continue };
            // Those of other users can't be looked into without privilege, and those that ended are no matter.
            let files = sysfs::entries(&path.join("fd")).unwrap_or_default();
            let has_it = files
                .iter()
                .any(|(_, file)| fs::read_link(file).is_ok_and(|target| nodes.contains(&target)));
            if has_it {
                let name = sysfs::text(&path.join("comm")).unwrap_or_default();
                processes.push(Process { id, name });
            }
        }
        processes.sort_by_key(|process| process.id);
        processes
    }

    fn nodes(&self, device: &Device) -> Vec<PathBuf> {
        let vfio = self.dev.join("vfio");
        let group = device.group.as_ref().map(|group| {
            let prefix = if group.noiommu { "noiommu-" } else { "" };
            vfio.join(format!("{prefix}{}", group.number))
        });
        let cdev = device
            .cdev
            .as_ref()
            .map(|cdev| vfio.join("devices").join(cdev));
        group.into_iter().chain(cdev).collect()
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.id, self.name)
    }
}
