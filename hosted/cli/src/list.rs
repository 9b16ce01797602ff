//! `vfio list`: the PCI devices, what the system has through them, and how each can be opened.

mod explain;
mod json;
mod table;

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use vfio_hosted::discovery::{Address, Caller, Obstacle, Role, SysfsDevice, System};

use crate::failure::Failure;
use crate::output;
use crate::target::World;

/// List PCI devices, what the system uses them for, and whether each can be opened.
///
/// Named devices are explained: what stands in the way of opening each, and how to mend it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these devices, each as 0000:00:05.0 or 00:05.0.
    #[arg(value_name = "DEVICE")]
    devices: Vec<Address>,

    /// Say of each device what stands in the way of opening it, and how to mend it.
    #[arg(long)]
    explain: bool,

    /// Sort by IOMMU group, whose members are given to a user together.
    #[arg(long)]
    groups: bool,

    /// Only devices of this class: the first digits of its code (02, 0108), or a part of its name.
    #[arg(long)]
    class: Option<String>,

    /// Only devices that this driver has; - for those that none has.
    #[arg(long)]
    driver: Option<String>,

    /// Only devices that can be opened now.
    #[arg(long)]
    ready: bool,
}

/// A device, and what is known of it.
struct Entry {
    device: SysfsDevice,
    /// What the system has through it.
    roles: Vec<Role>,
    obstacles: Vec<Obstacle>,
}

/// How a device is, in a word or two.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// It can be opened.
    Ready,
    /// It can be opened, and no IOMMU confines it.
    ReadyNoIommu,
    /// It is a bridge.
    Bridge,
    /// The system uses it.
    InUse,
    /// It is no VFIO driver's, and nothing is known to use it.
    NotBound,
    /// It is a VFIO driver's, and something stands in the way.
    Blocked,
}

pub(crate) fn run(args: &Args, world: &World) -> Result<ExitCode, Failure> {
    let entries = entries(args, &world.system)?;
    if world.json {
        output::json(&json::Record::new(&entries))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = output::stdout();
    if entries.is_empty() {
        writeln!(out, "{}", nothing(args))?;
    } else {
        table::write(&mut out, &entries, args.groups)?;
        if args.explain || !args.devices.is_empty() {
            explain::write(&mut out, &entries)?;
        } else {
            writeln!(
                out,
                "\n`vfio list DEVICE` tells what stands in the way of opening one."
            )?;
        }
        if !world.system.has_names() {
            writeln!(
                out,
                "\nNames are missing: no pci.ids is installed, which distributions have as pci.ids or hwdata."
            )?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the devices that are asked for.
fn entries(args: &Args, system: &System) -> Result<Vec<Entry>, Failure> {
    let mut devices = if args.devices.is_empty() {
        system.devices()?
    } else {
        let devices = args.devices.iter().map(|address| system.device(*address));
        devices.collect::<Result<_, _>>()?
    };
    devices.retain(|device| args.wants(device));
    let caller = Caller::current();
    let roles = system.roles(&devices);
    let entries = devices.into_iter().zip(roles).map(|(device, roles)| Entry {
        obstacles: system.obstacles(&device, &caller),
        roles,
        device,
    });
    let mut entries: Vec<_> = entries
        .filter(|entry| !args.ready || entry.obstacles.is_empty())
        .collect();
    if args.groups {
        // Devices without a group are last.
        let group = |entry: &Entry| entry.device.group.as_ref().map(|group| group.number);
        entries.sort_by_key(|entry| (group(entry).is_none(), group(entry)));
    }
    Ok(entries)
}

/// Returns why the list is empty.
const fn nothing(args: &Args) -> &'static str {
    if args.class.is_some() || args.driver.is_some() || args.ready {
        "No device is like that; `vfio list` shows all of them."
    } else {
        "This system has no PCI devices; `vfio inspect sim:edu` shows a simulated one."
    }
}

impl Args {
    fn wants(&self, device: &SysfsDevice) -> bool {
        let class = self.class.as_ref().is_none_or(|class| {
            let class = class.to_lowercase();
            let code = format!("{:06x}", device.class);
            let name = device.names.class.as_deref().unwrap_or_default();
            code.starts_with(class.trim_start_matches("0x")) || name.to_lowercase().contains(&class)
        });
        let bound = device.driver.as_deref().unwrap_or("-");
        let driver = self.driver.as_ref().is_none_or(|driver| driver == bound);
        class && driver
    }
}

impl Entry {
    fn status(&self) -> Status {
        if self.device.bridge {
            Status::Bridge
        } else if !self.device.has_vfio_driver() {
            if self.is_in_use() {
                Status::InUse
            } else {
                Status::NotBound
            }
        } else if !self.obstacles.is_empty() {
            Status::Blocked
        } else if self.device.is_noiommu() {
            Status::ReadyNoIommu
        } else {
            Status::Ready
        }
    }

    /// Tells whether something would be lost with the device, as far as the tables tell.
    fn is_in_use(&self) -> bool {
        self.roles.iter().any(Role::is_in_use)
    }
}
