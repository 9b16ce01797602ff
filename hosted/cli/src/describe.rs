//! Replies and devices, for people.

use std::io::Write;

use comfy_table::{Cell, Color, Table};
use vfio_hosted::report::{
    Body, Cap, Dependent, Fields, HotReset, Inspection, Ioas, IommuReport, RegionReport, Reply,
    Status,
};

use crate::failure::Failure;
use crate::output::{self, SUBJECT};

/// Writes a captured reply.
pub(crate) fn reply(out: &mut impl Write, reply: &Reply) -> Result<(), Failure> {
    let status = match (reply.status, reply.needed) {
        (Status::BufferTooSmall, Some(needed)) => {
            format!("the buffer was too small: {needed} bytes are needed")
        }
        (Status::NoCaps, _) => "whole, without capabilities".into(),
        _ => "whole".into(),
    };
    writeln!(
        out,
        "argsz {}, flags {}: {status}",
        reply.argsz,
        flags(&reply.flags, reply.flags_raw)
    )?;
    match &reply.fields {
        Fields::Device {
            num_regions,
            num_irqs,
            caps,
            ..
        } => {
            writeln!(out, "{num_regions} regions, {num_irqs} interrupt indexes")?;
            write_caps(out, caps, "")
        }
        Fields::Region {
            index,
            size,
            offset,
            caps,
            ..
        } => {
            writeln!(
                out,
                "region {index}, {} at {offset:#x} of the device's file",
                bytes(*size)
            )?;
            write_caps(out, caps, "")
        }
        Fields::Iommu {
            iova_pgsizes, caps, ..
        } => {
            writeln!(out, "page sizes {iova_pgsizes:#x}")?;
            write_caps(out, caps, "")
        }
        Fields::Irq { index, count } => {
            writeln!(out, "interrupt index {index}, {count} interrupts")?;
            Ok(())
        }
        Fields::HotReset { count, devices } => {
            writeln!(out, "{count} devices")?;
            write_dependents(out, devices)
        }
    }
}

/// Writes all that VFIO says of a device.
pub(crate) fn inspection(
    out: &mut impl Write,
    title: &str,
    inspection: &Inspection,
) -> Result<(), Failure> {
    writeln!(out, "{SUBJECT}{title}{SUBJECT:#}")?;
    writeln!(
        out,
        "flags {}, {} region indexes, {} interrupt indexes",
        flags(&inspection.flags, inspection.flags_raw),
        inspection.num_regions,
        inspection.num_irqs,
    )?;
    write_caps(out, &inspection.caps, "  ")?;

    writeln!(out, "\n{SUBJECT}Regions{SUBJECT:#}")?;
    let mut table = output::table(["INDEX", "NAME", "SIZE", "OFFSET", "FLAGS", "ACCESS"]);
    for region in &inspection.regions {
        add_region(&mut table, region);
    }
    writeln!(out, "{}", table.trim_fmt())?;
    for region in inspection
        .regions
        .iter()
        .filter(|region| !region.caps.is_empty())
    {
        writeln!(
            out,
            "\n{SUBJECT}Capabilities of region {}{SUBJECT:#}",
            region.index
        )?;
        write_caps(out, &region.caps, "")?;
    }

    writeln!(out, "\n{SUBJECT}Interrupts{SUBJECT:#}")?;
    let mut table = output::table(["INDEX", "NAME", "COUNT", "FLAGS"]);
    for irq in &inspection.irqs {
        table.add_row([
            irq.index.to_string(),
            irq.name.clone(),
            irq.count.to_string(),
            flags(&irq.flags, irq.flags_raw),
        ]);
    }
    writeln!(out, "{}", table.trim_fmt())?;

    if let Some(IommuReport {
        iova_pgsizes,
        caps,
        flags: names,
        flags_raw,
    }) = &inspection.iommu
    {
        writeln!(out, "\n{SUBJECT}IOMMU{SUBJECT:#}")?;
        writeln!(
            out,
            "page sizes {iova_pgsizes:#x}, flags {}",
            flags(names, *flags_raw)
        )?;
        write_caps(out, caps, "")?;
    }

    if let Some(Ioas {
        iova_alignment,
        iova_ranges,
    }) = &inspection.ioas
    {
        writeln!(out, "\n{SUBJECT}I/O address space{SUBJECT:#}")?;
        writeln!(out, "mappings are multiples of {}", bytes(*iova_alignment))?;
        for (start, last) in iova_ranges {
            writeln!(out, "  {start:#x} to {last:#x}")?;
        }
    }

    writeln!(out, "\n{SUBJECT}Hot reset{SUBJECT:#}")?;
    match &inspection.hot_reset {
        Some(HotReset { devices, .. }) => write_dependents(out, devices)?,
        None => writeln!(out, "none: the device can't be reset with its bus or slot")?,
    }
    for trouble in &inspection.troubles {
        let style = output::ERROR;
        writeln!(
            out,
            "\n{style}{}{style:#}: {}",
            trouble.subject, trouble.message
        )?;
    }
    Ok(())
}

/// Adds a row for each way in which a part of a region is reached.
fn add_region(table: &mut Table, region: &RegionReport) {
    let head = [
        region.index.to_string(),
        region.name.clone(),
        bytes(region.size),
        format!("{:#x}", region.offset),
        flags(&region.flags, region.flags_raw),
    ];
    let mut spans: Vec<Cell> = region
        .spans
        .iter()
        .map(|span| {
            let last = span.offset + (span.size - 1);
            let (word, color) = if span.mapped {
                ("mapped", Color::Green)
            } else {
                ("trapped", Color::Yellow)
            };
            Cell::new(format!("{:#x}-{last:#x} {word}", span.offset)).fg(color)
        })
        .collect();
    if spans.is_empty() {
        spans.push(Cell::new("-"));
    }
    let first = spans.remove(0);
    table.add_row(head.into_iter().map(Cell::new).chain([first]));
    for span in spans {
        table.add_row(
            ["", "", "", "", ""]
                .into_iter()
                .map(Cell::new)
                .chain([span]),
        );
    }
}

fn write_caps(out: &mut impl Write, caps: &[Cap], indent: &str) -> Result<(), Failure> {
    for cap in caps {
        writeln!(
            out,
            "{indent}{} (id {}, version {}) at offset {}{}",
            cap.name,
            cap.id,
            cap.version,
            cap.offset,
            contents(&cap.body)
        )?;
        match &cap.body {
            Body::SparseMmap { areas } => {
                for area in areas {
                    writeln!(out, "{indent}  {:#x}, {}", area.offset, bytes(area.size))?;
                }
            }
            Body::IovaRange { ranges } => {
                for range in ranges {
                    writeln!(out, "{indent}  {:#x}-{:#x}", range.start, range.end)?;
                }
            }
            _ => (),
        }
    }
    Ok(())
}

/// Returns the contents of a capability behind a colon, where it has any.
fn contents(body: &Body) -> String {
    match body {
        Body::SparseMmap { areas } => format!(": {} areas", areas.len()),
        Body::IovaRange { ranges } => format!(": {} ranges", ranges.len()),
        Body::Type {
            r#type,
            subtype,
            type_name,
        } => {
            format!(": {type_name}, type {type:#x}, subtype {subtype}")
        }
        Body::MsixMappable {} => String::new(),
        Body::Nvlink2Ssatgt { tgt } => format!(": target {tgt:#x}"),
        Body::Nvlink2Lnkspd { link_speed } => format!(": link speed {link_speed}"),
        Body::Migration {
            pgsize_bitmap,
            max_dirty_bitmap_size,
            ..
        } => format!(
            ": dirty pages of {pgsize_bitmap:#x}, bitmaps of at most {}",
            bytes(*max_dirty_bitmap_size)
        ),
        Body::DmaAvail { avail } => format!(": {avail} mappings left"),
        Body::ZpciBase {
            start_dma,
            end_dma,
            gid,
            ..
        } => {
            format!(": group {gid}, DMA {start_dma:#x}-{end_dma:#x}")
        }
        Body::ZpciGroup { noi, maxstbl, .. } => {
            format!(": {noi} interrupts, stores of at most {maxstbl} bytes")
        }
        Body::ZpciUtil { util_str } => format!(": {util_str}"),
        Body::ZpciPfip { pfip } => format!(": {pfip}"),
        Body::PciAtomicComp {
            flags: raw,
            flag_names,
        } => format!(": {}", flags(flag_names, *raw)),
        Body::Unknown { raw } => {
            const SHOWN: usize = 64;
            let more = if raw.len() > SHOWN { "..." } else { "" };
            format!(": {}{more}", raw.get(..SHOWN).unwrap_or(raw))
        }
    }
}

fn write_dependents(out: &mut impl Write, devices: &[Dependent]) -> Result<(), Failure> {
    for device in devices {
        let owner = match (device.group_id, device.devid) {
            (Some(group), _) => format!("IOMMU group {group}"),
            (None, Some(0)) => "owned".into(),
            (None, Some(u32::MAX)) => "not owned".into(),
            (None, Some(devid)) => format!("owned, device id {devid}"),
            (None, None) => "-".into(),
        };
        writeln!(
            out,
            "{:04x}:{:02x}:{:02x}.{:x}, {owner}",
            device.segment,
            device.bus,
            device.devfn >> 3,
            device.devfn & 7
        )?;
    }
    Ok(())
}

/// Returns the names of flags, and the number where there are none.
fn flags(names: &[&str], raw: u32) -> String {
    if names.is_empty() {
        format!("{raw:#x}")
    } else {
        names.join(" ")
    }
}

/// Returns a size, in the largest unit that says it exactly.
pub(crate) fn bytes(size: u64) -> String {
    const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    UNITS
        .into_iter()
        .find(|(shift, _)| size >> shift > 0 && size.trailing_zeros() >= *shift)
        .map_or_else(
            || format!("{size} B"),
            |(shift, unit)| format!("{} {unit}", size >> shift),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_exactly() {
        let said = [0, 256, 4096, 4097, 1 << 20, 3 << 29, 8 << 30].map(bytes);
        assert_eq!(
            said,
            [
                "0 B", "256 B", "4 KiB", "4097 B", "1 MiB", "1536 MiB", "8 GiB"
            ]
        );
    }
}
