//! What stands in the way of opening devices, and how it is mended.

use std::io::Write;

use vfio_hosted::discovery::{Address, Obstacle};

use super::{Entry, Status};
use crate::failure::Failure;
use crate::output::{COMMAND, SUBJECT};
use crate::remedy;

pub(super) fn write(out: &mut impl Write, entries: &[Entry]) -> Result<(), Failure> {
    for entry in entries {
        writeln!(out)?;
        write_entry(out, entry, entries)?;
    }
    Ok(())
}

fn write_entry(out: &mut impl Write, entry: &Entry, all: &[Entry]) -> Result<(), Failure> {
    let address = entry.device.address;
    let said = match entry.status() {
        Status::Ready => "It can be opened.",
        Status::ReadyNoIommu => {
            "No IOMMU confines the device: it reaches all memory of this system. Acknowledge it where you open the \
             device all the same:"
        }
        Status::Bridge => {
            "It is a bridge, which vfio-pci does not take. Open the devices behind it instead."
        }
        Status::InUse | Status::NotBound | Status::Blocked => "",
    };
    write!(out, "{SUBJECT}{address}{SUBJECT:#}:")?;
    if !said.is_empty() {
        write!(out, " {said}")?;
    }
    if entry.is_in_use() {
        let used = entry.roles.iter().filter(|role| role.is_in_use());
        let used: Vec<_> = used.map(ToString::to_string).collect();
        write!(out, " The system uses it ({}).", used.join(", "))?;
    }
    writeln!(out)?;
    if entry.status() == Status::ReadyNoIommu {
        let command = format!("vfio inspect --mode noiommu {address}");
        write_commands(out, &[command])?;
    }
    if !entry.device.bridge {
        for obstacle in &entry.obstacles {
            write_obstacle(out, obstacle, all)?;
        }
    }
    Ok(())
}

/// Writes an obstacle, and how it is mended. Nobody is told how to take a device that the system uses.
fn write_obstacle(out: &mut impl Write, obstacle: &Obstacle, all: &[Entry]) -> Result<(), Failure> {
    writeln!(out, "  {obstacle}.")?;
    let is_used = |address: &Address| {
        let of = |entry: &&Entry| entry.device.address == *address;
        all.iter().find(of).is_some_and(Entry::is_in_use)
    };
    if obstacle.devices_to_bind().iter().any(is_used) {
        writeln!(
            out,
            "  Stop using it first; `vfio bind` then gives it to vfio-pci."
        )?;
        return Ok(());
    }
    let remedy = remedy::of(obstacle);
    if let Some(advice) = remedy.advice {
        writeln!(out, "  {advice}")?;
    }
    write_commands(out, &remedy.commands)
}

/// Writes commands, each on a line of its own.
fn write_commands(out: &mut impl Write, commands: &[String]) -> Result<(), Failure> {
    for command in commands {
        writeln!(out, "    {COMMAND}{command}{COMMAND:#}")?;
    }
    Ok(())
}
