//! What can stand in the way of opening a device, and how to mend it.

use core::fmt;
use std::path::PathBuf;

use super::{Address, Member};

/// Something that stands in the way of opening a device through VFIO. Its `Display` is one sentence, without the full
/// stop.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// It is a bridge, and vfio-pci takes only devices with an ordinary header.
    Bridge,
    /// The device is in no IOMMU group.
    NoIommu {
        /// Whether VFIO's no-IOMMU mode is a way out.
        mode: NoIommuMode,
    },
    /// The driver vfio-pci is not there to be bound.
    ModuleMissing,
    /// No VFIO driver is bound to the device.
    WrongDriver {
        /// The device.
        address: Address,
        /// The driver that is bound instead.
        driver: Option<String>,
    },
    /// Drivers of the kernel hold other members of the IOMMU group.
    GroupNotViable {
        /// The number of the group.
        group: u32,
        /// These members.
        members: Vec<Member>,
    },
    /// A node of the device is not in `/dev`.
    NodeMissing {
        /// The node.
        path: PathBuf,
    },
    /// This process may not read and write nodes of the device.
    NoPermission {
        /// These nodes.
        paths: Vec<PathBuf>,
    },
    /// The device has no IOMMU, and this process lacks `CAP_SYS_RAWIO`, which the kernel asks for in that case.
    NoRawIo,
    /// This process may lock little memory, and memory for DMA is locked.
    MemlockLimit {
        /// How much, in bytes.
        limit: u64,
        /// Up to where the process may raise it, in bytes; `None` is unlimited.
        max: Option<u64>,
    },
}

/// The state of VFIO's no-IOMMU mode, which gives out devices whose DMA nothing confines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoIommuMode {
    /// VFIO is loaded, and the mode is off.
    Off,
    /// VFIO is not loaded; whether it has the mode shows only then.
    NotLoaded,
    /// VFIO is loaded and was built without the mode (`CONFIG_VFIO_NOIOMMU`).
    Unsupported,
}

/// How an obstacle is mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// What no command does, or what to mind: one sentence.
    pub advice: Option<&'static str>,
    /// The commands that mend it, for a POSIX shell, in order.
    pub commands: Vec<String>,
}

impl Obstacle {
    /// Returns a word or three, for a column.
    #[must_use]
    pub const fn title(&self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::NoIommu { .. } => "no IOMMU",
            Self::ModuleMissing => "vfio-pci not loaded",
            Self::WrongDriver {
                driver: Some(_), ..
            } => "wrong driver",
            Self::WrongDriver { driver: None, .. } => "no driver",
            Self::GroupNotViable { .. } => "group not viable",
            Self::NodeMissing { .. } => "node missing",
            Self::NoPermission { .. } => "no permission",
            Self::NoRawIo => "no CAP_SYS_RAWIO",
            Self::MemlockLimit { .. } => "locked memory limit",
        }
    }

    /// Returns the devices that have to be bound to vfio-pci to mend it.
    #[must_use]
    pub fn devices_to_bind(&self) -> Vec<Address> {
        match self {
            Self::WrongDriver { address, .. } => vec![*address],
            Self::GroupNotViable { members, .. } => {
                members.iter().filter_map(Member::address).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Returns how to mend it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Bridge => advice("Open the devices behind it instead."),
            Self::NoIommu { mode } => Remedy {
                advice: Some(match mode {
                    NoIommuMode::Unsupported => {
                        "Turn the IOMMU on in the firmware (VT-d, AMD-Vi, SMMU), for Intel's also with the kernel \
                         parameter intel_iommu=on."
                    }
                    NoIommuMode::Off | NoIommuMode::NotLoaded => {
                        "Turn the IOMMU on in the firmware (VT-d, AMD-Vi, SMMU), for Intel's also with the kernel \
                         parameter intel_iommu=on; or have VFIO do without its protection."
                    }
                }),
                commands: match mode {
                    NoIommuMode::Off => {
                        vec!["echo Y | sudo tee /sys/module/vfio/parameters/enable_unsafe_noiommu_mode".into()]
                    }
                    NoIommuMode::NotLoaded => {
                        vec!["sudo modprobe vfio enable_unsafe_noiommu_mode=Y".into()]
                    }
                    NoIommuMode::Unsupported => Vec::new(),
                },
            },
            Self::ModuleMissing => commands(["sudo modprobe vfio-pci".into()]),
            Self::WrongDriver { address, driver } => Remedy {
                advice: driver
                    .is_some()
                    .then_some("Make sure first that nothing on this system uses the device."),
                commands: bind_commands(address, driver.is_some()),
            },
            Self::GroupNotViable { members, .. } => Remedy {
                advice: Some("Make sure first that nothing on this system uses them."),
                commands: members
                    .iter()
                    .filter_map(Member::address)
                    .flat_map(|address| bind_commands(address, true))
                    .collect(),
            },
            Self::NodeMissing { .. } => Remedy {
                advice: Some(
                    "In a container, give it the node (--device); elsewhere devtmpfs makes it.",
                ),
                commands: vec!["sudo mount -t devtmpfs devtmpfs /dev".into()],
            },
            Self::NoPermission { paths } => {
                let paths: Vec<String> = paths
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect();
                commands([format!("sudo chown \"$USER\" {}", paths.join(" "))])
            }
            Self::NoRawIo => Remedy {
                advice: Some("Run the program as root, or give it the capability."),
                commands: vec!["sudo setcap cap_sys_rawio+ep PROGRAM".into()],
            },
            Self::MemlockLimit { max: None, .. } => commands(["ulimit -l unlimited".into()]),
            Self::MemlockLimit { max: Some(_), .. } => {
                // The shell itself may only go up to the hard limit.
                commands(["sudo prlimit --memlock=unlimited:unlimited --pid $$".into()])
            }
        }
    }
}

/// Returns the commands that bind a device to vfio-pci, whatever its ids. Others with the same ids are left
/// alone.
///
/// `bdf` is its address, or what the shell expands to it. `unbind` is for a device that has a driver.
#[must_use]
pub fn bind_commands(bdf: impl fmt::Display, unbind: bool) -> Vec<String> {
    let device = format!("/sys/bus/pci/devices/{bdf}");
    let mut commands = vec![format!("echo vfio-pci | sudo tee {device}/driver_override")];
    if unbind {
        commands.push(format!("echo {bdf} | sudo tee {device}/driver/unbind"));
    }
    commands.push(format!("echo {bdf} | sudo tee /sys/bus/pci/drivers_probe"));
    commands
}

fn advice(sentence: &'static str) -> Remedy {
    Remedy {
        advice: Some(sentence),
        commands: Vec::new(),
    }
}

fn commands<const N: usize>(commands: [String; N]) -> Remedy {
    Remedy {
        advice: None,
        commands: commands.into(),
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge => f.write_str("The device is a bridge, which vfio-pci does not take"),
            Self::NoIommu { .. } => {
                f.write_str("No IOMMU is active for the device: it is in no IOMMU group")
            }
            Self::ModuleMissing => f.write_str("The driver vfio-pci is not loaded"),
            Self::WrongDriver {
                driver: Some(driver),
                ..
            } => {
                write!(
                    f,
                    "The driver {driver} is bound to the device, not vfio-pci"
                )
            }
            Self::WrongDriver { driver: None, .. } => {
                f.write_str("No driver is bound to the device, where vfio-pci should be")
            }
            Self::GroupNotViable { group, members } => {
                write!(
                    f,
                    "IOMMU group {group} is not viable, because other drivers hold members of it:"
                )?;
                for (i, member) in members.iter().enumerate() {
                    let separator = if i == 0 { "" } else { "," };
                    write!(
                        f,
                        "{separator} {} ({})",
                        member.name,
                        member.driver.as_deref().unwrap_or("no driver")
                    )?;
                }
                Ok(())
            }
            Self::NodeMissing { path } => write!(f, "There is no {}", path.display()),
            Self::NoPermission { paths } => {
                f.write_str("No permission to read and write")?;
                for (i, path) in paths.iter().enumerate() {
                    let separator = if i == 0 { "" } else { " and" };
                    write!(f, "{separator} {}", path.display())?;
                }
                Ok(())
            }
            Self::NoRawIo => {
                f.write_str("Opening a device without an IOMMU takes the capability CAP_SYS_RAWIO")
            }
            Self::MemlockLimit { limit, .. } => {
                write!(
                    f,
                    "Only {} KiB of memory can be locked for DMA (RLIMIT_MEMLOCK)",
                    limit >> 10
                )
            }
        }
    }
}
