//! `vfio list`: the PCI devices, and what stands in the way of opening each.

mod json;

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

use comfy_table::{Cell, Color};
use vfio_hosted::discovery::{Address, Caller, Obstacle, SysfsDevice, System, bind_commands};

use crate::failure::Failure;
use crate::output::{self, COMMAND, SUBJECT};

/// The PCI base class of bridges.
const BRIDGE_BASE_CLASS: u32 = 0x06;

/// List PCI devices and what stands in the way of opening each.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these devices, each as 0000:00:05.0 or 00:05.0.
    #[arg(value_name = "DEVICE")]
    devices: Vec<Address>,

    /// Write JSON.
    #[arg(long)]
    json: bool,
}

/// A device and what stands in its way.
struct Entry {
    device: SysfsDevice,
    obstacles: Vec<Obstacle>,
}

pub(crate) fn run(args: &Args, system: &System) -> Result<ExitCode, Failure> {
    let devices = if args.devices.is_empty() {
        system.devices()?
    } else {
        args.devices
            .iter()
            .map(|address| system.device(*address))
            .collect::<Result<_, _>>()?
    };
    let caller = Caller::current();
    let entries: Vec<Entry> = devices
        .into_iter()
        .map(|device| Entry {
            obstacles: system.obstacles(&device, &caller),
            device,
        })
        .collect();

    if args.json {
        let records: Vec<_> = entries.iter().map(json::Record::from).collect();
        output::json(&records)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = output::stdout();
    if entries.is_empty() {
        writeln!(
            out,
            "This system has no PCI devices; `vfio inspect sim:edu` shows a simulated one."
        )?;
    } else {
        write_table(&mut out, &entries)?;
        write_obstacles(&mut out, &entries)?;
        write_unconfined(&mut out, &entries)?;
        if !system.has_names() {
            writeln!(
                out,
                "\nNames are missing: no pci.ids is installed, which distributions have as pci.ids or hwdata."
            )?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn write_table(out: &mut impl Write, entries: &[Entry]) -> Result<(), Failure> {
    let mut table = output::table([
        "ADDRESS", "ID", "DEVICE", "CLASS", "DRIVER", "GROUP", "STATUS",
    ]);
    for Entry { device, obstacles } in entries {
        let status = match obstacles.as_slice() {
            [] if device.is_noiommu() => Cell::new("ready, no IOMMU").fg(Color::Yellow),
            [] => Cell::new("ready").fg(Color::Green),
            [first, ..] => Cell::new(first.title()).fg(Color::Yellow),
        };
        let group = match &device.group {
            None => "-".into(),
            Some(group) if group.noiommu => format!("noiommu-{}", group.number),
            Some(group) => group.number.to_string(),
        };
        table.add_row([
            Cell::new(device.address),
            Cell::new(format_args!(
                "{:04x}:{:04x}",
                device.vendor_id, device.device_id
            )),
            Cell::new(name(device)),
            Cell::new(
                device
                    .names
                    .class
                    .clone()
                    .unwrap_or_else(|| format!("{:06x}", device.class)),
            ),
            Cell::new(device.driver.as_deref().unwrap_or("-")),
            Cell::new(group),
            status,
        ]);
    }
    writeln!(out, "{}", table.trim_fmt())?;
    Ok(())
}

fn name(device: &SysfsDevice) -> String {
    match (&device.names.vendor, &device.names.device) {
        (Some(vendor), Some(device)) => format!("{vendor} {device}"),
        (Some(vendor), None) => vendor.clone(),
        (None, _) => "-".into(),
    }
}

/// Lists the devices that need nothing but the word of their user.
fn write_unconfined(out: &mut impl Write, entries: &[Entry]) -> Result<(), Failure> {
    for Entry { device, obstacles } in entries {
        if !device.is_noiommu() || !obstacles.is_empty() {
            continue;
        }
        let address = device.address;
        writeln!(
            out,
            "\n{SUBJECT}{address}{SUBJECT:#}: No IOMMU confines the device: it reaches all memory of this system."
        )?;
        let advice = "Acknowledge it where you open the device all the same:";
        let command = format!("vfio inspect --mode noiommu {address}");
        write_remedy(out, Some(advice), &[command])?;
    }
    Ok(())
}

/// Something that stands in the way of some of the devices.
struct Finding<'a> {
    sentence: String,
    obstacle: &'a Obstacle,
    devices: Vec<&'a SysfsDevice>,
}

/// Lists each obstacle once, with the devices that it stands before and its remedy beneath. Last those whose remedy
/// is to bind devices to vfio-pci, which is said once for all of them.
fn write_obstacles(out: &mut impl Write, entries: &[Entry]) -> Result<(), Failure> {
    let (to_bind, others): (Vec<_>, Vec<_>) = gather(entries)
        .into_iter()
        .partition(|finding| !finding.obstacle.devices_to_bind().is_empty());

    for finding in &others {
        writeln!(out)?;
        write_finding(out, finding, entries)?;
        let remedy = finding.obstacle.remedy();
        write_remedy(out, remedy.advice, &remedy.commands)?;
    }

    let Some(first) = to_bind.first() else {
        return Ok(());
    };
    writeln!(out)?;
    for finding in &to_bind {
        write_finding(out, finding, entries)?;
    }
    let obstacles = || entries.iter().flat_map(|entry| &entry.obstacles);
    let targets: BTreeSet<Address> = obstacles().flat_map(Obstacle::devices_to_bind).collect();
    if targets.len() == 1 {
        let remedy = first.obstacle.remedy();
        return write_remedy(out, remedy.advice, &remedy.commands);
    }
    let mut commands = vec![format!("BDF={}", example(&targets, entries))];
    commands.extend(bind_commands("$BDF", true));
    write_remedy(
        out,
        Some(
            "To bind one of them, make sure first that nothing on this system uses it; with BDF its address:",
        ),
        &commands,
    )
}

/// Returns the different obstacles, in order of appearance.
fn gather(entries: &[Entry]) -> Vec<Finding<'_>> {
    let mut findings: Vec<Finding<'_>> = Vec::new();
    for Entry { device, obstacles } in entries {
        for obstacle in obstacles {
            let sentence = obstacle.to_string();
            match findings
                .iter_mut()
                .find(|finding| finding.sentence == sentence)
            {
                Some(finding) => finding.devices.push(device),
                None => findings.push(Finding {
                    sentence,
                    obstacle,
                    devices: vec![device],
                }),
            }
        }
    }
    findings
}

/// Returns the first device to bind that is no host bridge, which nobody means.
fn example(targets: &BTreeSet<Address>, entries: &[Entry]) -> String {
    let is_bridge = |address: &Address| {
        entries.iter().any(|entry| {
            entry.device.address == *address && entry.device.class >> 16 == BRIDGE_BASE_CLASS
        })
    };
    let address = targets
        .iter()
        .find(|address| !is_bridge(address))
        .or(targets.first());
    address.map_or_else(String::new, Address::to_string)
}

fn write_finding(
    out: &mut impl Write,
    finding: &Finding<'_>,
    entries: &[Entry],
) -> Result<(), Failure> {
    let Finding {
        sentence, devices, ..
    } = finding;
    // A bridge has no other obstacle.
    let openable = entries.iter().filter(|entry| !entry.device.bridge).count();
    let subject = if devices.len() == openable
        && devices.len() > 1
        && finding.obstacle != &Obstacle::Bridge
    {
        "all devices".into()
    } else {
        devices
            .iter()
            .map(|device| device.address.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    writeln!(out, "{SUBJECT}{subject}{SUBJECT:#}: {sentence}.")?;
    Ok(())
}

fn write_remedy(
    out: &mut impl Write,
    advice: Option<&str>,
    commands: &[String],
) -> Result<(), Failure> {
    if let Some(advice) = advice {
        writeln!(out, "  {advice}")?;
    }
    for command in commands {
        writeln!(out, "    {COMMAND}{command}{COMMAND:#}")?;
    }
    Ok(())
}
