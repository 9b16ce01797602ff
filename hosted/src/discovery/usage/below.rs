//! What lies below a device in sysfs: its block devices, its device nodes, and the VFIO devices that go with it.
//!
//! `Documentation/admin-guide/sysfs-rules.rst`: a link from a class or from `/sys/dev` leads to the directory of the
//! member, which is below the directory of the device that it belongs to.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::super::asking::{Kind, Node, Number};
use super::super::group::is_vfio_driver;
use super::super::sysfs;
use super::super::{Address, System};

/// A block device: a disk, or a partition.
pub(super) struct Block {
    /// The kernel's name of it.
    pub(super) name: String,
    /// Where sysfs describes it.
    pub(super) directory: PathBuf,
    /// The number by which it is opened. A path of a disk that has several has none: it can't be opened.
    pub(super) number: Option<Number>,
    /// The name of what it is a part of, if it is a partition.
    pub(super) disk: Option<String>,
}

impl Block {
    fn read(name: String, directory: PathBuf) -> Self {
        let number = sysfs::text(&directory.join("dev"));
        let disk = directory.join("partition").exists();
        let disk = disk
            .then(|| fs::read_link(&directory).ok())
            .flatten()
            .and_then(|target| Some(target.parent()?.file_name()?.to_str()?.to_owned()));
        Self {
            number: number.ok().and_then(|text| text.parse().ok()),
            name,
            directory,
            disk,
        }
    }
}

impl System {
    /// Returns the block devices that would be lost with a device, sorted by name.
    pub(super) fn blocks(&self, address: Address) -> Vec<Block> {
        let address = address.to_string();
        let blocks = self.class("block");
        let heads = self.multipath_heads(&address, &blocks);
        let mut found: Vec<Block> = blocks
            .into_iter()
            .filter(|(_, path)| {
                fs::read_link(path).is_ok_and(|target| {
                    is_below(&target, &address) || heads.iter().any(|head| ends_in(&target, head))
                })
            })
            .map(|(name, path)| Block::read(name, path))
            .collect();
        found.sort_by(|one, other| one.name.cmp(&other.name));
        found
    }

    /// Returns the disks, as subsystem and name, to which NVMe namespaces of the device are paths.
    ///
    /// Where an NVMe subsystem may have several controllers, a controller has only paths, such as `nvme0c1n1`, which
    /// nobody can open. The disk and its partitions are the subsystem's (`drivers/nvme/host/multipath.c`), which links
    /// to its controllers. A path and its disk have the same `wwid`.
    fn multipath_heads(&self, address: &str, blocks: &[(String, PathBuf)]) -> Vec<[String; 2]> {
        let wwid = |path: &Path| sysfs::text(&path.join("wwid")).ok();
        let paths: Vec<_> = blocks
            .iter()
            .filter(|(_, path)| !path.join("dev").exists())
            .filter(|(_, path)| fs::read_link(path).is_ok_and(|target| is_below(&target, address)))
            .map(|(_, path)| wwid(path))
            .collect();
        let mut heads = Vec::new();
        for (subsystem, path) in self.class("nvme-subsystem") {
            let members = sysfs::entries(&path).unwrap_or_default();
            let is_of_device = members.iter().any(|(_, path)| {
                fs::read_link(path).is_ok_and(|target| is_below(&target, address))
            });
            if !is_of_device {
                continue;
            }
            for (name, path) in members {
                // What can't be told apart counts.
                let own = wwid(&path);
                let is_reached = paths
                    .iter()
                    .any(|path| path.is_none() || own.is_none() || *path == own);
                if is_reached && path.join("dev").exists() {
                    heads.push([subsystem.clone(), name]);
                }
            }
        }
        heads
    }

    /// Returns the nodes below the device through which a process may have it open: those of its block devices and all
    /// others, such as those of displays, sound cards, serial ports and NVMe controllers. And those of VFIO.
    pub(super) fn nodes_below(&self, address: Address, blocks: &[Block]) -> Vec<Node> {
        let text = address.to_string();
        let mut nodes: Vec<Node> = blocks
            .iter()
            .filter_map(|block| {
                let number = block.number?;
                Some(self.node(Kind::Block, number, &block.directory, &block.name))
            })
            .collect();
        for (number, path) in sysfs::entries(&self.sysfs.join("dev/char")).unwrap_or_default() {
            let Ok(target) = fs::read_link(&path) else {
                continue;
            };
            if let Ok(number) = number.parse()
                && is_below(&target, &text)
            {
                let name = target.file_name().unwrap_or_default().to_string_lossy();
                nodes.push(self.node(Kind::Char, number, &path, &name));
            }
        }
        nodes
    }

    /// Returns the nodes of the VFIO groups of the device and of what is below it: mediated devices, and PCI
    /// devices in a domain that it makes.
    pub(super) fn vfio_groups(&self, address: Address) -> Vec<Node> {
        let address = address.to_string();
        let mut groups = BTreeMap::<String, Vec<String>>::new();
        for bus in ["pci", "mdev"] {
            let devices = self.sysfs.join("bus").join(bus).join("devices");
            for (name, path) in sysfs::entries(&devices).unwrap_or_default() {
                let is_ours = fs::read_link(&path).is_ok_and(|target| is_below(&target, &address));
                let driver = sysfs::link_name(&path.join("driver")).ok().flatten();
                if !is_ours || !driver.as_deref().is_some_and(is_vfio_driver) {
                    continue;
                }
                let group = path.join("iommu_group");
                let Ok(Some(number)) = sysfs::link_name(&group) else {
                    continue;
                };
                let is_noiommu =
                    sysfs::text(&group.join("name")).is_ok_and(|name| name == "vfio-noiommu");
                let prefix = if is_noiommu { "noiommu-" } else { "" };
                let group = groups.entry(format!("vfio/{prefix}{number}"));
                group.or_default().push(name);
            }
        }
        let groups = groups.into_iter();
        groups
            .map(|(group, devices)| self.vfio_node(group, devices))
            .collect()
    }

    /// Returns the other PCI functions that lose their driver with the device, and theirs in turn: its virtual
    /// functions, which cease to be, and those that the kernel links to it as consumers
    /// (`Documentation/driver-api/device_link.rst`).
    pub(super) fn dependants(&self, address: Address) -> Vec<Address> {
        let mut found = vec![address];
        let mut next = 0;
        while let Some(&of) = found.get(next) {
            next = next.saturating_add(1);
            let entries = sysfs::entries(&self.device_directory(of)).unwrap_or_default();
            for (name, path) in entries {
                let dependant = if name.starts_with("virtfn") {
                    let target = sysfs::link_name(&path).ok().flatten();
                    target.and_then(|name| name.parse().ok())
                } else if let Some(consumer) = name.strip_prefix("consumer:pci:") {
                    // The driver core minds only the links whose state it tracks.
                    let is_tracked =
                        sysfs::text(&path.join("status")).is_ok_and(|status| status == "active");
                    consumer.parse().ok().filter(|_| is_tracked)
                } else {
                    None
                };
                found.extend(dependant.filter(|dependant| !found.contains(dependant)));
            }
        }
        found.remove(0);
        found
    }

    /// Tells whether a network interface of the device is in another network namespace than this sysfs shows: the
    /// directory that it lies in is there, and empty.
    pub(super) fn has_hidden_interface(&self, address: Address) -> bool {
        let device = self.device_directory(address);
        // Those of virtio devices lie one level deeper.
        let inner = sysfs::entries(&device).unwrap_or_default();
        let inner = inner
            .into_iter()
            .map(|(_, path)| path)
            .filter(|path| !path.is_symlink());
        core::iter::once(device).chain(inner).any(|directory| {
            fs::read_dir(directory.join("net")).is_ok_and(|mut entries| entries.next().is_none())
        })
    }

    /// Returns the network interfaces of the device, each with its directory.
    pub(super) fn interfaces(&self, address: Address) -> Vec<(String, PathBuf)> {
        let address = address.to_string();
        let mut interfaces = self.class("net");
        interfaces.retain(|(_, path)| {
            fs::read_link(path).is_ok_and(|target| is_below(&target, &address))
        });
        interfaces
    }

    /// Tells whether the firmware and the console draw on the device.
    pub(super) fn is_boot_display(&self, address: Address) -> bool {
        let flag = sysfs::text(&self.device_directory(address).join("boot_vga"));
        flag.is_ok_and(|flag| flag == "1")
    }

    /// Returns the members of a class.
    pub(super) fn class(&self, class: &str) -> Vec<(String, PathBuf)> {
        sysfs::entries(&self.sysfs.join("class").join(class)).unwrap_or_default()
    }
}

/// Tells whether a link leads below the device of this address.
pub(super) fn is_below(target: &Path, address: &str) -> bool {
    target.iter().any(|part| part == address)
}

/// Tells whether a link leads to these two parts of a path in succession, or below them.
fn ends_in(target: &Path, parts: &[String; 2]) -> bool {
    let parts = parts.each_ref().map(OsStr::new);
    let found: Vec<_> = target.iter().collect();
    found.windows(2).any(|window| window == parts)
}
