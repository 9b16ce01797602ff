//! What the system uses a device for, as far as sysfs and procfs tell it cheaply.

use core::fmt;
use std::fs;
use std::path::Path;

use super::sysfs;
use super::{Device, System};

/// Something that the system would lose with a device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Usage {
    /// The firmware and the console draw on it.
    BootDisplay,
    /// A file system on one of its disks is mounted.
    Mounted {
        /// The disk or partition.
        block: String,
        /// Where.
        at: String,
    },
    /// The system swaps to one of its disks.
    Swap {
        /// The disk or partition.
        block: String,
    },
    /// One of its disks is part of another block device, such as an encrypted one.
    Held {
        /// The disk or partition.
        block: String,
        /// The other block device.
        by: String,
    },
    /// One of its network interfaces is up.
    Network {
        /// The interface.
        interface: String,
    },
}

/// `IFF_UP` of linux/if.h: the interface was brought up.
const INTERFACE_UP: u32 = 1;
/// A file such as `/proc/self/mountinfo` is read up to this many bytes.
const TABLE_BYTES: usize = 4 << 20;

impl System {
    /// What the system uses a device for. What can't be read counts as unused.
    #[must_use]
    pub fn usages(&self, device: &Device) -> Vec<Usage> {
        let address = device.address.to_string();
        let mut usages = Vec::new();
        let is_boot_display = sysfs::text(&self.device_directory(device.address).join("boot_vga"))
            .is_ok_and(|flag| flag == "1");
        if is_boot_display {
            usages.push(Usage::BootDisplay);
        }
        let mounts = self.mounts();
        let swaps = self.swaps();
        for (block, path) in self.class("block", &address) {
            // A disk with several paths is used through one that belongs to no controller.
            let name = multipath_head(&block).unwrap_or_else(|| block.clone());
            let number = sysfs::text(&path.join("dev")).unwrap_or_default();
            if let Some(mount) = mounts.iter().find(|mount| mount.is_of(&name, &number)) {
                usages.push(Usage::Mounted {
                    block: name.clone(),
                    at: mount.at.clone(),
                });
            }
            if swaps.contains(&format!("/dev/{name}")) {
                usages.push(Usage::Swap {
                    block: name.clone(),
                });
            }
            let holders = self.sysfs.join("class/block").join(&name).join("holders");
            for (by, _) in sysfs::entries(&holders).unwrap_or_default() {
                usages.push(Usage::Held {
                    block: name.clone(),
                    by,
                });
            }
        }
        for (interface, path) in self.class("net", &address) {
            let flags = sysfs::hex(&path.join("flags")).unwrap_or_default();
            if flags & INTERFACE_UP != 0 {
                usages.push(Usage::Network { interface });
            }
        }
        usages
    }

    /// The members of a class that lie below the device.
    fn class(
        &self,
        class: &str,
        address: &str,
    ) -> impl Iterator<Item = (String, std::path::PathBuf)> {
        let entries = sysfs::entries(&self.sysfs.join("class").join(class)).unwrap_or_default();
        entries.into_iter().filter(move |(_, path)| {
            fs::read_link(path).is_ok_and(|target| is_below(&target, address))
        })
    }

    fn mounts(&self) -> Vec<Mount> {
        let table = self.table("self/mountinfo");
        table.lines().filter_map(Mount::parse).collect()
    }

    fn swaps(&self) -> Vec<String> {
        let table = self.table("swaps");
        let names = table
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().next());
        names.map(str::to_owned).collect()
    }

    fn table(&self, name: &str) -> String {
        let bytes = sysfs::bytes(&self.proc.join(name), TABLE_BYTES).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
struct Mount {
    /// Major and minor number; a made-up one for btrfs and its like.
    number: String,
    source: String,
    at: String,
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ');
        let number = fields.nth(2)?.to_owned();
        let at = sysfs::printable(fields.nth(1)?.as_bytes());
        // Optional fields end with a dash; the type and the source come behind it.
        let source = fields.skip_while(|field| *field != "-").nth(2)?.to_owned();
        Some(Self { number, source, at })
    }

    fn is_of(&self, name: &str, number: &str) -> bool {
        self.number == number || self.source.strip_prefix("/dev/") == Some(name)
    }
}

/// Whether a link from a class leads below the device of this address.
fn is_below(target: &Path, address: &str) -> bool {
    target.iter().any(|part| part == address)
}

/// The disk `nvme0n1` of its path `nvme0c1n1`.
fn multipath_head(name: &str) -> Option<String> {
    let numbers = name.strip_prefix("nvme")?;
    let (subsystem, rest) = numbers.split_once('c')?;
    let (_, namespace) = rest.split_once('n')?;
    Some(format!("nvme{subsystem}n{namespace}"))
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BootDisplay => f.write_str("it is the display that the system booted with"),
            Self::Mounted { block, at } => write!(f, "{block} is mounted on {at}"),
            Self::Swap { block } => write!(f, "the system swaps to {block}"),
            Self::Held { block, by } => write!(f, "{block} is part of {by}"),
            Self::Network { interface } => write!(f, "the network interface {interface} is up"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake_tree::FakeTree;
    use super::*;

    const DEVICE: &str = "0000:00:06.0";

    fn usages(tree: &FakeTree) -> Vec<String> {
        let system = System::below(tree.root());
        let device = system.device(DEVICE.parse().unwrap()).unwrap();
        let usages = system.usages(&device);
        usages.iter().map(ToString::to_string).collect()
    }

    fn class(tree: &FakeTree, class: &str, name: &str, place: &str) {
        tree.write(&format!("sys/devices/pci/{place}/{name}/uevent"), "");
        tree.write(&format!("sys/class/{class}/.keep"), "");
        tree.link(
            &format!("sys/class/{class}/{name}"),
            &format!("sys/devices/pci/{place}/{name}"),
        );
    }

    fn tree() -> FakeTree {
        let tree = FakeTree::new();
        tree.device(DEVICE, 1, 2, 0x010802);
        tree
    }

    #[test]
    fn an_idle_device_is_unused() {
        let tree = tree();
        class(&tree, "block", "nvme0n1", "0000:00:06.0/nvme/nvme0");
        class(&tree, "net", "eth0", "0000:00:07.0/net");
        tree.write("sys/devices/pci/0000:00:07.0/net/eth0/flags", "0x1003\n");
        tree.write("sys/devices/pci/0000:00:06.0/boot_vga", "0\n");
        assert_eq!(usages(&tree), [""; 0]);
    }

    #[test]
    fn mounted_swapped_and_held_disks_are_found() {
        let tree = tree();
        let disk = "0000:00:06.0/nvme/nvme0/nvme0n1";
        for partition in ["nvme0n1p1", "nvme0n1p2", "nvme0n1p3", "nvme0n1p4"] {
            class(&tree, "block", partition, disk);
        }
        tree.write(&format!("sys/devices/pci/{disk}/nvme0n1p1/dev"), "259:1\n");
        tree.write(
            &format!("sys/devices/pci/{disk}/nvme0n1p4/holders/dm-0"),
            "",
        );
        tree.write(
            "proc/self/mountinfo",
            "22 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
             23 1 0:31 /home /home rw shared:2 master:1 - btrfs /dev/nvme0n1p2 rw\n",
        );
        tree.write(
            "proc/swaps",
            "Filename Type Size Used Priority\n/dev/nvme0n1p3 partition 1 0 -2\n",
        );
        assert_eq!(
            usages(&tree),
            [
                "nvme0n1p1 is mounted on /",
                "nvme0n1p2 is mounted on /home",
                "the system swaps to nvme0n1p3",
                "nvme0n1p4 is part of dm-0",
            ]
        );
    }

    #[test]
    fn a_disk_with_several_paths_is_found_by_its_head() {
        let tree = tree();
        class(&tree, "block", "nvme0c1n1", "0000:00:06.0/nvme/nvme1");
        tree.write(
            "proc/self/mountinfo",
            "22 1 259:1 / /srv rw - xfs /dev/nvme0n1 rw\n",
        );
        assert_eq!(usages(&tree), ["nvme0n1 is mounted on /srv"]);
    }

    #[test]
    fn an_interface_that_is_up_and_the_boot_display_are_found() {
        let tree = tree();
        class(&tree, "net", "eth0", "0000:00:06.0/virtio0/net");
        tree.write(
            "sys/devices/pci/0000:00:06.0/virtio0/net/eth0/flags",
            "0x1003\n",
        );
        tree.write("sys/devices/pci/0000:00:06.0/boot_vga", "1\n");
        assert_eq!(
            usages(&tree),
            [
                "it is the display that the system booted with",
                "the network interface eth0 is up",
            ]
        );
    }
}
