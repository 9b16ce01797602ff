//! What the system uses a device for: what sysfs and procfs tell cheaply, and what the kernel says where it is asked.
//!
//! Not seen are: what a process mapped and then closed, what a process of another PID namespace has open without
//! claiming it, and a block device that the kernel itself exports without claiming it, as its NVMe target does.

mod below;
mod brief;
mod naming;
mod tables;
#[cfg(test)]
mod tests;

use core::fmt;
use std::path::Path;

use vfio_core::sys::Errno;

use super::asking::{Ask, Kernel, Kind, Node};
use super::process::Process;
use super::sysfs;
use super::{Address, SysfsDevice, System};
pub use brief::Role;

use below::Block;
use tables::Tables;

/// Something that would be lost with a device, or that taking the device away would wait for.
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
    /// A file system on one of its disks is mounted in another mount namespace.
    MountedElsewhere {
        /// The disk or partition.
        block: String,
        /// Where, as the process sees it.
        at: String,
        /// A process in that namespace.
        process: Process,
    },
    /// The system swaps to one of its disks.
    Swap {
        /// The disk or partition.
        block: String,
    },
    /// One of its disks is part of another block device, such as an encrypted one, or of a file system.
    Held {
        /// The disk or partition.
        block: String,
        /// The other block device, or the file system.
        by: String,
    },
    /// One of its disks is in use, as the kernel says, and no table tells by whom.
    Claimed {
        /// The disk or partition.
        block: String,
    },
    /// The kernel could not be asked whether one of its disks is in use.
    Unasked {
        /// The disk or partition.
        block: String,
        /// Why not: [`Errno::ENOENT`] where it has no node in `/dev`.
        errno: Errno,
    },
    /// One of its network interfaces is up.
    Network {
        /// The interface.
        interface: String,
    },
    /// One of its network interfaces is part of another one, such as a bridge or a bond.
    NetworkHeld {
        /// The interface.
        interface: String,
        /// The other interface.
        by: String,
    },
    /// One of its network interfaces is in another network namespace.
    NetworkElsewhere,
    /// The kernel writes its log to one of its serial ports.
    Console {
        /// The name of the port below `/dev`.
        node: String,
    },
    /// Processes have one of its device nodes open.
    Open {
        /// The name of the node below `/dev`.
        node: String,
        /// These processes; none where procfs does not tell: they are in another PID namespace, or have a VFIO device
        /// open, and no longer its group, on a kernel before 6.18.
        processes: Vec<Process>,
    },
    /// Another function that would go with the device is in use: a virtual function, or one that depends on it.
    Dependant {
        /// The function.
        address: Address,
        /// What it is used for.
        usage: Box<Usage>,
    },
}

/// `IFF_UP` of linux/if.h: the interface was brought up.
const INTERFACE_UP: u32 = 1;

impl System {
    /// Returns the system's uses of a device and of the functions that would go with it.
    ///
    /// The tables of the system are read, and then the kernel is asked about what they don't name: each block device is
    /// opened for one process alone, for a moment and without changing anything, and so is each VFIO group. A block
    /// device that can't be asked about, since it has no node or since it takes privilege, is told as
    /// [`Usage::Unasked`]. Of anything else, what can't be read counts as unused.
    #[must_use]
    pub fn usages(&self, device: &SysfsDevice) -> Vec<Usage> {
        self.usages_asking(device, &Kernel)
    }

    pub(super) fn usages_asking(&self, device: &SysfsDevice, ask: &dyn Ask) -> Vec<Usage> {
        let own = Function::read(self, device.address);
        let dependants = self.dependants(device.address);
        let dependants = dependants
            .iter()
            .map(|&address| Function::read(self, address));
        let functions: Vec<_> = core::iter::once(own).chain(dependants).collect();
        // All in one go: there may be many virtual functions, and many processes.
        let nodes: Vec<_> = functions
            .iter()
            .flat_map(|function| function.nodes.iter().cloned())
            .collect();
        let openers = self.openers(&nodes);
        let opened: Vec<_> = nodes
            .into_iter()
            .zip(openers)
            .filter(|(_, processes)| !processes.is_empty())
            .collect();
        let survey = Survey {
            system: self,
            tables: Tables::read(self),
            opened,
            ask,
        };
        let mut usages = Vec::new();
        for function in &functions {
            let found = survey.usages(function).into_iter();
            if function.address == device.address {
                usages.extend(found);
            } else {
                usages.extend(found.map(|usage| Usage::Dependant {
                    address: function.address,
                    usage: Box::new(usage),
                }));
            }
        }
        usages
    }
}

/// A PCI function, and what lies below it.
struct Function {
    address: Address,
    blocks: Vec<Block>,
    /// All nodes but those of VFIO groups.
    devices: usize,
    nodes: Vec<Node>,
}

impl Function {
    fn read(system: &System, address: Address) -> Self {
        let blocks = system.blocks(address);
        let mut nodes = system.nodes_below(address, &blocks);
        let devices = nodes.len();
        nodes.extend(system.vfio_groups(address));
        Self {
            address,
            blocks,
            devices,
            nodes,
        }
    }
}

/// The system as it is asked about.
struct Survey<'a> {
    system: &'a System,
    tables: Tables,
    /// Each node that is open, with who has it open.
    opened: Vec<(Node, Vec<Process>)>,
    ask: &'a dyn Ask,
}

impl Survey<'_> {
    fn usages(&self, function: &Function) -> Vec<Usage> {
        let mut usages = Vec::new();
        if self.system.is_boot_display(function.address) {
            usages.push(Usage::BootDisplay);
        }
        self.add_blocks(function, &mut usages);
        self.add_network(function.address, &mut usages);
        let (others, groups) = function.nodes.split_at(function.devices);
        for node in others {
            let Some((Kind::Char, number)) = node.device else {
                continue;
            };
            if self.tables.has_console(number) {
                let node = node.name.clone();
                usages.push(Usage::Console { node });
            }
            usages.extend(self.open(node));
        }
        for node in groups {
            let open = self.open(node);
            let is_open = || self.ask.is_group_open(node) == Ok(true);
            usages.extend(open.or_else(|| {
                is_open().then(|| Usage::Open {
                    node: node.name.clone(),
                    processes: Vec::new(),
                })
            }));
        }
        usages
    }

    /// Returns the processes that are seen to have a node open.
    fn open(&self, node: &Node) -> Option<Usage> {
        let (_, processes) = self.opened.iter().find(|(opened, _)| opened == node)?;
        Some(Usage::Open {
            node: node.name.clone(),
            processes: processes.clone(),
        })
    }

    fn add_blocks(&self, function: &Function, usages: &mut Vec<Usage>) {
        let named: Vec<_> = function
            .blocks
            .iter()
            .map(|block| {
                let mut usages = self.tables.usages(block);
                usages.extend(block.node(function).and_then(|node| self.open(node)));
                usages
            })
            .collect();
        let mut asked: Vec<(&Block, Vec<Usage>)> = Vec::new();
        // Partitions before their disks: a disk is in use while one of its partitions is.
        let mut order: Vec<_> = function.blocks.iter().zip(named).collect();
        order.sort_by_key(|(block, _)| block.disk.is_none());
        for (block, mut found) in order {
            let is_used_in_part = || {
                asked.iter().any(|(part, usages)| {
                    part.disk.as_ref() == Some(&block.name) && !usages.is_empty()
                })
            };
            if found.is_empty() && !is_used_in_part() {
                let node = block.node(function);
                found.extend(node.and_then(|node| self.claimed(block, node)));
            }
            asked.push((block, found));
        }
        asked.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
        usages.extend(asked.into_iter().flat_map(|(_, found)| found));
    }

    /// Returns what the kernel says about a block device whose use no table tells.
    fn claimed(&self, block: &Block, node: &Node) -> Option<Usage> {
        let block = block.name.clone();
        match self.ask.is_claimed(node) {
            Ok(false) => None,
            Ok(true) => Some(Usage::Claimed { block }),
            Err(errno) => Some(Usage::Unasked { block, errno }),
        }
    }

    fn add_network(&self, address: Address, usages: &mut Vec<Usage>) {
        for (interface, path) in self.system.interfaces(address) {
            if is_up(&path) {
                let interface = interface.clone();
                usages.push(Usage::Network { interface });
            }
            for (name, _) in sysfs::entries(&path).unwrap_or_default() {
                if let Some(by) = name.strip_prefix("upper_") {
                    usages.push(Usage::NetworkHeld {
                        interface: interface.clone(),
                        by: by.to_owned(),
                    });
                }
            }
        }
        if self.system.has_hidden_interface(address) {
            usages.push(Usage::NetworkElsewhere);
        }
    }
}

/// Tells whether a network interface was brought up.
fn is_up(interface: &Path) -> bool {
    let flags = sysfs::hex(&interface.join("flags")).unwrap_or_default();
    flags & INTERFACE_UP != 0
}

impl Block {
    /// Its node; `None` where it can't be opened.
    fn node<'f>(&self, function: &'f Function) -> Option<&'f Node> {
        let device = Some((Kind::Block, self.number?));
        function.nodes.iter().find(|node| node.device == device)
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BootDisplay => f.write_str("it is the display that the system booted with"),
            Self::Mounted { block, at } => write!(f, "{block} is mounted on {at}"),
            Self::MountedElsewhere { block, at, process } => write!(
                f,
                "{block} is mounted on {at} in another mount namespace, that of {process}"
            ),
            Self::Swap { block } => write!(f, "the system swaps to {block}"),
            Self::Held { block, by } => write!(f, "{block} is part of {by}"),
            Self::Claimed { block } => write!(
                f,
                "{block} is in use, as the kernel says, though no table tells by whom"
            ),
            Self::Unasked { block, errno } => {
                write!(f, "the kernel can't be asked whether {block} is in use: ")?;
                match *errno {
                    Errno::ENOENT => f.write_str("it has no node in /dev"),
                    errno => errno.fmt(f),
                }
            }
            Self::Network { interface } => write!(f, "the network interface {interface} is up"),
            Self::NetworkHeld { interface, by } => {
                write!(f, "the network interface {interface} is part of {by}")
            }
            Self::NetworkElsewhere => {
                f.write_str("a network interface of it is in another network namespace")
            }
            Self::Console { node } => write!(f, "the kernel writes its log to /dev/{node}"),
            Self::Open { node, processes } => {
                write!(f, "/dev/{node} is open in ")?;
                processes_fmt(f, processes)
            }
            Self::Dependant { address, usage } => {
                write!(f, "{address}, which would go with it: {usage}")
            }
        }
    }
}

/// Names processes, or says that nobody knows them.
pub(super) fn processes_fmt(f: &mut fmt::Formatter<'_>, processes: &[Process]) -> fmt::Result {
    if processes.is_empty() {
        return f.write_str("a process that can't be told");
    }
    for (i, process) in processes.iter().enumerate() {
        let separator = if i == 0 { "" } else { " and " };
        write!(f, "{separator}{process}")?;
    }
    Ok(())
}
