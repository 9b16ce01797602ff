//! The table: a line of at most 100 columns for each device.

use std::io::Write;

use comfy_table::{Cell, Color};
use vfio_hosted::discovery::{Obstacle, SysfsDevice};

use super::{Entry, Status};
use crate::failure::Failure;
use crate::output;

/// The most characters of a name, of what a device is used for, and of a driver.
const NAME: usize = 27;
const USE: usize = 14;
const DRIVER: usize = 13;

pub(super) fn write(
    out: &mut impl Write,
    entries: &[Entry],
    by_group: bool,
) -> Result<(), Failure> {
    let titles = ["DEVICE", "DRIVER", "USED FOR", "STATUS"];
    let [device, driver, used, status] = titles;
    let mut table = if by_group {
        output::table(["GROUP", "ADDRESS", device, driver, used, status])
    } else {
        output::table(["ADDRESS", device, driver, "GROUP", used, status])
    };
    let mut last = None;
    for entry in entries {
        let group = group(&entry.device);
        let address = Cell::new(entry.device.address);
        let name = Cell::new(shortened(&name(&entry.device), NAME));
        let driver = entry.device.driver.as_deref().unwrap_or("-");
        let driver = Cell::new(shortened(driver, DRIVER));
        let used = Cell::new(shortened(&used_for(entry), USE));
        if by_group {
            let is_same = last.as_ref() == Some(&group);
            let shown = if is_same {
                String::new()
            } else {
                group.clone()
            };
            table.add_row([
                Cell::new(shown),
                address,
                name,
                driver,
                used,
                status_of(entry),
            ]);
        } else {
            let group = Cell::new(&group);
            table.add_row([address, name, driver, group, used, status_of(entry)]);
        }
        last = Some(group);
    }
    writeln!(out, "{}", table.trim_fmt())?;
    Ok(())
}

/// Returns the status in words. Only what needs the user is coloured as a warning.
fn status_of(entry: &Entry) -> Cell {
    match entry.status() {
        Status::Ready => Cell::new("ready").fg(Color::Green),
        Status::ReadyNoIommu => Cell::new("ready, no IOMMU").fg(Color::Yellow),
        Status::Bridge => Cell::new("bridge"),
        Status::InUse => Cell::new("in use"),
        Status::NotBound => Cell::new("not bound"),
        Status::Blocked => {
            let title = entry.obstacles.first().map_or("", Obstacle::title);
            Cell::new(title).fg(Color::Yellow)
        }
    }
}

fn group(device: &SysfsDevice) -> String {
    match &device.group {
        None => "-".into(),
        Some(group) if group.noiommu => format!("noiommu-{}", group.number),
        Some(group) => group.number.to_string(),
    }
}

/// Returns what the system has through a device, what is in use first.
fn used_for(entry: &Entry) -> String {
    let (used, others): (Vec<_>, Vec<_>) = entry.roles.iter().partition(|role| role.is_in_use());
    let words: Vec<_> = used
        .iter()
        .chain(&others)
        .map(ToString::to_string)
        .collect();
    if words.is_empty() {
        "-".into()
    } else {
        words.join(" ")
    }
}

/// Returns the name of the device, without its vendor's where there is one; else the class, else the ids.
fn name(device: &SysfsDevice) -> String {
    let ids = || format!("{:04x}:{:04x}", device.vendor_id, device.device_id);
    match (&device.names.device, &device.names.class) {
        (Some(name), _) => name.clone(),
        (None, Some(class)) => format!("{} {class}", ids()),
        (None, None) => format!("{} class {:06x}", ids(), device.class),
    }
}

/// Returns the start of a text, and a sign where there is more.
fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let start: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", start.trim_end())
}
