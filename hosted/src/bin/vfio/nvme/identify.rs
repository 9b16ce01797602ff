//! `vfio nvme identify`: what a controller and its namespaces are.

use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use vfio_core::device::DeviceHandle;
use vfio_core::dma::DmaHandle;
use vfio_core::mmio::Access;
use vfio_drivers::nvme::{Controller, Namespace};

use super::drive::{About, Job, drive};
use crate::describe;
use crate::failure::Failure;
use crate::output;
use crate::target::{Target, World};

/// Show what a controller and its namespaces say of themselves.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The PCI address (0000:00:06.0 or 00:06.0), or sim:nvme for the simulated device, which is the default.
    #[arg(default_value = "sim:nvme")]
    device: Target,

    /// Write JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Record {
    device: String,
    simulated: bool,
    mode: &'static str,
    model: String,
    serial: String,
    firmware: String,
    version: String,
    vendor: u16,
    controller_id: u16,
    queue_pairs: u16,
    queue_entries: u32,
    /// Bytes; none without a limit.
    longest_transfer: Option<usize>,
    write_cache: bool,
    shadow_doorbells: bool,
    write_zeroes: bool,
    deallocate: bool,
    temperature_kelvin: u16,
    warnings: u8,
    percent_used: u8,
    power_on_hours: u128,
    media_errors: u128,
    namespaces: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    id: u32,
    bytes: u64,
    blocks: u64,
    block_size: u32,
    used_blocks: u64,
    format: u8,
    protection: u8,
    formats: Vec<Format>,
    eui64: String,
    nguid: String,
}

#[derive(Serialize)]
struct Format {
    block_size: u64,
    metadata: u16,
    performance: u8,
}

struct Identify;

pub(super) fn run(args: &Args, world: &World) -> Result<ExitCode, Failure> {
    let record = drive(args.device, world, Identify)?;
    if args.json {
        output::json(&record)?;
    } else {
        people(&record)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Job for Identify {
    type Output = Record;

    fn run<D: DeviceHandle, M: DmaHandle, A: Access>(
        self,
        controller: &Controller<D, M, A>,
        about: &About,
    ) -> Result<Record, Failure> {
        let failed = |error| about.failed(&error);
        let info = controller.info();
        let health = controller.health().map_err(failed)?;
        let mut namespaces = Vec::new();
        let mut ids = [0; 64];
        let mut after = 0;
        loop {
            let count = controller.namespace_ids(after, &mut ids).map_err(failed)?;
            for id in ids.iter().take(count) {
                namespaces.push(entry(&controller.namespace(*id).map_err(failed)?));
                after = *id;
            }
            if count < ids.len() {
                break;
            }
        }
        Ok(Record {
            device: about.device.clone(),
            simulated: about.simulated,
            mode: about.mode,
            model: info.model.to_string(),
            serial: info.serial.to_string(),
            firmware: info.firmware.to_string(),
            version: controller.version().map_err(failed)?.to_string(),
            vendor: info.vendor,
            controller_id: info.id,
            queue_pairs: controller.queues(),
            queue_entries: controller.capabilities().most_entries(),
            longest_transfer: controller.longest_transfer(),
            write_cache: info.has_write_cache,
            shadow_doorbells: info.has_shadow_doorbells(),
            write_zeroes: info.can_write_zeroes(),
            deallocate: info.can_deallocate(),
            temperature_kelvin: health.temperature,
            warnings: health.warnings,
            percent_used: health.used,
            power_on_hours: health.power_on_hours,
            media_errors: health.media_errors,
            namespaces,
        })
    }
}

fn entry(namespace: &Namespace) -> Entry {
    let formats = namespace.formats().iter().map(|format| Format {
        block_size: 1_u64.checked_shl(format.shift.into()).unwrap_or(0),
        metadata: format.metadata,
        performance: format.performance,
    });
    Entry {
        id: namespace.id(),
        bytes: namespace.size(),
        blocks: namespace.blocks(),
        block_size: namespace.block_size(),
        used_blocks: namespace.used(),
        format: namespace.format(),
        protection: namespace.protection(),
        formats: formats.collect(),
        eui64: hex(&namespace.eui64()),
        nguid: hex(&namespace.guid()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A string takes whatever is written.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn people(record: &Record) -> Result<(), Failure> {
    let mut out = output::stdout();
    let subject = output::SUBJECT;
    writeln!(
        out,
        "{subject}{}{subject:#}, {}",
        record.device, record.mode
    )?;
    let yes = |is_so: bool| if is_so { "yes" } else { "no" };
    let longest = record
        .longest_transfer
        .and_then(|len| u64::try_from(len).ok())
        .map_or_else(|| "no limit".into(), describe::bytes);
    let lines = [
        ("model", record.model.clone()),
        ("serial number", record.serial.clone()),
        ("firmware", record.firmware.clone()),
        ("NVMe version", record.version.clone()),
        ("queue pairs", record.queue_pairs.to_string()),
        ("entries of a queue", record.queue_entries.to_string()),
        ("longest transfer", longest),
        ("write cache", yes(record.write_cache).into()),
        ("shadow doorbells", yes(record.shadow_doorbells).into()),
        ("write zeroes", yes(record.write_zeroes).into()),
        ("deallocate", yes(record.deallocate).into()),
        (
            "temperature",
            format!("{} °C", i32::from(record.temperature_kelvin) - 273),
        ),
        ("media errors", record.media_errors.to_string()),
    ];
    for (name, value) in lines {
        writeln!(out, "  {name:<20}{value}")?;
    }
    let mut table = output::table(["Namespace", "Size", "Blocks", "Block", "Formats"]);
    for entry in &record.namespaces {
        let formats = entry.formats.iter().map(|format| match format.metadata {
            0 => format.block_size.to_string(),
            metadata => format!("{}+{metadata}", format.block_size),
        });
        table.add_row([
            entry.id.to_string(),
            describe::bytes(entry.bytes),
            entry.blocks.to_string(),
            describe::bytes(entry.block_size.into()),
            formats.collect::<Vec<_>>().join(" "),
        ]);
    }
    writeln!(out, "\n{table}")?;
    out.flush()?;
    Ok(())
}
