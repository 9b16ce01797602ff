//! What the tables of the system say that block devices are used for: mounts, swap, holders, loop devices, file systems
//! on several disks.

use std::fs;
use std::path::Path;

use super::super::asking::Number;
use super::super::process::Process;
use super::super::sysfs;
use super::super::{System, Usage};
use super::below::Block;

/// A file such as `/proc/self/mountinfo` is read up to this many bytes.
const TABLE_BYTES: usize = 4 << 20;

/// The tables, read once.
pub(super) struct Tables {
    /// Those of this process first.
    mounts: Vec<Mount>,
    /// The names of files that the system swaps to.
    swaps: Vec<String>,
    /// The name of each loop device, and the file behind it.
    loops: Vec<(String, String)>,
    /// The UUID of each mounted Btrfs file system, and the names of its block devices.
    btrfs: Vec<(String, Vec<String>)>,
    /// The character devices that the kernel writes its log to.
    consoles: Vec<Number>,
}

/// A line of `/proc/ID/mountinfo` (proc_pid_mountinfo(5)).
struct Mount {
    /// Major and minor number; a made-up one for btrfs and its like.
    number: Option<Number>,
    source: String,
    at: String,
    /// A process in the mount namespace, where it is not that of this process.
    process: Option<Process>,
}

impl Tables {
    pub(super) fn read(system: &System) -> Self {
        Self {
            mounts: mounts(system),
            swaps: swaps(system),
            loops: loops(system),
            btrfs: btrfs(system),
            consoles: consoles(system),
        }
    }

    /// Returns the uses of a block device that the tables tell.
    pub(super) fn usages(&self, block: &Block) -> Vec<Usage> {
        let mut usages = Vec::new();
        let name = &block.name;
        let btrfs = self.btrfs.iter().find(|(_, names)| names.contains(name));
        let members = btrfs.map(|(_, names)| names.as_slice()).unwrap_or_default();
        let is_of = |mount: &&Mount| {
            mount.is_of(name, block.number)
                || members.iter().any(|member| mount.is_of(member, None))
        };
        if let Some(mount) = self.mounts.iter().find(is_of) {
            usages.push(mount.usage(name));
        } else if let Some((uuid, _)) = btrfs {
            usages.push(Usage::Held {
                block: name.clone(),
                by: format!("the Btrfs file system {uuid}"),
            });
        }
        let file = device_file(name);
        if self.swaps.contains(&file) {
            let block = name.clone();
            usages.push(Usage::Swap { block });
        }
        let holders = sysfs::entries(&block.directory.join("holders")).unwrap_or_default();
        let holders = holders.into_iter().map(|(by, _)| by);
        let loops = self.loops.iter().filter(|(_, behind)| *behind == file);
        for by in holders.chain(loops.map(|(by, _)| by.clone())) {
            let block = name.clone();
            usages.push(Usage::Held { block, by });
        }
        usages
    }

    /// Tells whether the kernel writes its log to this character device.
    pub(super) fn has_console(&self, number: Number) -> bool {
        self.consoles.contains(&number)
    }
}

impl Mount {
    fn parse(line: &str, process: Option<&Process>) -> Option<Self> {
        let mut fields = line.split(' ');
        let number = fields.nth(2)?.parse().ok();
        let at = sysfs::printable(fields.nth(1)?.as_bytes());
        // Optional fields end with a dash; the type and the source come behind it.
        let source = fields.skip_while(|field| *field != "-").nth(2)?.to_owned();
        Some(Self {
            number,
            source,
            at,
            process: process.cloned(),
        })
    }

    fn is_of(&self, name: &str, number: Option<Number>) -> bool {
        // Bcachefs names all its disks.
        let file = device_file(name);
        (number.is_some() && self.number == number)
            || self.source.split(':').any(|source| source == file)
    }

    fn usage(&self, block: &str) -> Usage {
        let (block, at) = (block.to_owned(), self.at.clone());
        match &self.process {
            None => Usage::Mounted { block, at },
            Some(process) => Usage::MountedElsewhere {
                block,
                at,
                process: process.clone(),
            },
        }
    }
}

/// Returns how tables of the system write the node of a block device.
fn device_file(name: &str) -> String {
    format!("/dev/{}", name.replace('!', "/"))
}

/// Returns the mounts of this process's namespace, and then those of others.
fn mounts(system: &System) -> Vec<Mount> {
    let mut mounts = Vec::new();
    let mut add = |path: &Path, process: Option<&Process>| {
        let table = table(&path.join("mountinfo"));
        mounts.extend(table.lines().filter_map(|line| Mount::parse(line, process)));
    };
    let namespace = |path: &Path| fs::read_link(path.join("ns/mnt")).ok();
    let own = system.proc.join("self");
    add(&own, None);
    let mut seen = vec![namespace(&own)];
    for (id, path) in system.processes() {
        // Those of other users tell it to the privileged only.
        let namespace = namespace(&path);
        if namespace.is_some() && !seen.contains(&namespace) {
            add(&path, Some(&Process::read(id, &path)));
            seen.push(namespace);
        }
    }
    mounts
}

fn swaps(system: &System) -> Vec<String> {
    let table = table(&system.proc.join("swaps"));
    let names = table
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

fn loops(system: &System) -> Vec<(String, String)> {
    let blocks = system.class("block").into_iter();
    blocks
        .filter_map(|(name, path)| Some((name, sysfs::text(&path.join("loop/backing_file")).ok()?)))
        .collect()
}

fn btrfs(system: &System) -> Vec<(String, Vec<String>)> {
    // Beside the file systems there is a directory of what the module can do.
    let found = sysfs::entries(&system.sysfs.join("fs/btrfs")).unwrap_or_default();
    found
        .into_iter()
        .map(|(uuid, path)| {
            let devices = sysfs::entries(&path.join("devices")).unwrap_or_default();
            (uuid, devices.into_iter().map(|(name, _)| name).collect())
        })
        .collect()
}

/// Returns the last field of each line of `/proc/consoles`.
fn consoles(system: &System) -> Vec<Number> {
    let table = table(&system.proc.join("consoles"));
    let numbers = table
        .lines()
        .filter_map(|line| line.split_whitespace().last());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

fn table(path: &Path) -> String {
    let bytes = sysfs::bytes(path, TABLE_BYTES).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
