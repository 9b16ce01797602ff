//! Processes that have a device open.

use core::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};

use super::asking::Node;
use super::sysfs;
use super::{SysfsDevice, System};

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub id: u32,
    /// Its name, as `/proc/ID/comm` gives it.
    pub name: String,
}

impl System {
    /// Returns the processes that have the device's group or its own character device open. Only what this process
    /// may see is found.
    ///
    /// A driver waits for them where the device is taken away from it.
    #[must_use]
    pub fn processes_with(&self, device: &SysfsDevice) -> Vec<Process> {
        let nodes = self.vfio_nodes(device);
        let mut processes: Vec<_> = self.openers(&nodes).into_iter().flatten().collect();
        processes.sort_by_key(|process| process.id);
        processes.dedup();
        processes
    }

    /// Returns for each node the processes that have it open, sorted by number. Only what this process
    /// may see is found.
    ///
    /// What a process mapped and then closed is not seen.
    pub(super) fn openers(&self, nodes: &[Node]) -> Vec<Vec<Process>> {
        let mut openers = vec![Vec::new(); nodes.len()];
        if nodes.is_empty() {
            return openers;
        }
        for (id, path) in self.processes() {
            // Those of other users can't be looked into without privilege, and those that ended are no matter.
            let files = sysfs::entries(&path.join("fd")).unwrap_or_default();
            let open: Vec<_> = files
                .iter()
                .filter_map(|(number, file)| {
                    node_of(file, nodes).or_else(|| {
                        let device = vfio_device(file, &path.join("fdinfo").join(number))?;
                        nodes.iter().position(|node| node.devices.contains(&device))
                    })
                })
                .collect();
            for (index, openers) in openers.iter_mut().enumerate() {
                if open.contains(&index) {
                    openers.push(Process::read(id, &path));
                }
            }
        }
        openers
    }

    /// Returns the processes that there are, with where procfs describes them, sorted by number.
    pub(super) fn processes(&self) -> Vec<(u32, PathBuf)> {
        let entries = sysfs::entries(&self.proc).unwrap_or_default();
        let mut processes: Vec<_> = entries
            .into_iter()
            .filter_map(|(name, path)| Some((name.parse().ok()?, path)))
            .collect();
        processes.sort();
        processes
    }

    /// Returns the nodes through which VFIO gives a device out.
    fn vfio_nodes(&self, device: &SysfsDevice) -> Vec<Node> {
        let group = device.group.as_ref().map(|group| {
            let prefix = if group.noiommu { "noiommu-" } else { "" };
            format!("vfio/{prefix}{}", group.number)
        });
        let cdev = device.cdev.as_ref();
        let cdev = cdev.map(|cdev| format!("vfio/devices/{cdev}"));
        let names = group.into_iter().chain(cdev);
        names
            .map(|name| self.vfio_node(name, vec![device.address.to_string()]))
            .collect()
    }
}

impl Process {
    /// Creates the process that procfs describes at `path`.
    pub(super) fn read(id: u32, path: &Path) -> Self {
        let name = sysfs::text(&path.join("comm")).unwrap_or_default();
        Self { id, name }
    }
}

/// Returns which of the nodes a file of `/proc/ID/fd` is: the one of its name, or of its number, as a container has
/// it under another name.
fn node_of(file: &Path, nodes: &[Node]) -> Option<usize> {
    let target = fs::read_link(file).ok()?;
    let named = nodes.iter().position(|node| node.path == target);
    // Files elsewhere are not asked for their number: a server that holds one might never answer.
    if named.is_some() || !target.iter().any(|part| part == "dev") {
        return named;
    }
    let stat = statx(CWD, file, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE).ok()?;
    let number = makedev(stat.stx_rdev_major, stat.stx_rdev_minor);
    nodes
        .iter()
        .position(|node| node.is_same(stat.stx_mode.into(), number))
}

/// Returns the name of the VFIO device that a file of `/proc/ID/fd` is. The kernel tells in `info`, its
/// file of `/proc/ID/fdinfo` (`Documentation/filesystems/proc.rst`, "VFIO Device files").
fn vfio_device(file: &Path, info: &Path) -> Option<String> {
    fs::read_link(file)
        .ok()
        .filter(|target| target.as_os_str() == "anon_inode:[vfio-device]")?;
    let lines = sysfs::lines(info);
    let path = lines
        .iter()
        .find_map(|line| line.strip_prefix("vfio-device-syspath:"))?;
    Some(Path::new(path.trim()).file_name()?.to_str()?.to_owned())
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.id, self.name)
    }
}
