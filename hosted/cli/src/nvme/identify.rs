//! `vfio nvme identify`: what a controller and its namespaces are.

use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use vfio_core::device::DeviceHandle;
use vfio_core::dma::DmaHandle;
use vfio_core::mmio::Access;
use vfio_drivers::nvme::{Controller, Namespace, NvmeError};

use super::drive::{About, Ended, Job, drive, status};
use crate::describe;
use crate::failure::Failure;
use crate::output;
use crate::target::{Target, World};

/// Show what a controller and its namespaces say of themselves.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The PCI address (0000:00:06.0 or 00:06.0), unix:SOCKET for a served device, or sim:nvme for the
    /// simulated one, which is the default.
    #[arg(default_value = "sim:nvme")]
    device: Target,
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
    /// None of these where the controller does not say how its health is.
    temperature_kelvin: Option<u16>,
    warnings: Option<u8>,
    percent_used: Option<u8>,
    power_on_hours: Option<u128>,
    media_errors: Option<u128>,
    namespaces: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    id: u32,
    #[serde(flatten)]
    usable: Option<Usable>,
    /// Why it can't be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// A namespace that can be used.
#[derive(Serialize)]
struct Usable {
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
    /// None for a format that there is not.
    block_size: Option<u64>,
    metadata: u16,
    performance: u8,
}

struct Identify;

pub(super) fn run(args: &Args, world: &World) -> Result<ExitCode, Failure> {
    let Ended { done, failure } = drive(&args.device, world, Identify)?;
    let told = if world.json {
        output::json(&done)
    } else {
        people(&done)
    };
    status([failure.map_or(Ok(()), Err), told])
}

impl Job for Identify {
    type Output = Record;

    fn run<D: DeviceHandle, M: DmaHandle, A: Access>(
        self,
        controller: &Controller<D, M, A>,
        about: &About,
    ) -> Result<Ended<Record>, Failure> {
        let failed = |error| about.failed(&error);
        let info = controller.info();
        let health = unless_stopped(controller.health()).map_err(failed)?.ok();
        let namespaces = namespaces(controller).map_err(failed)?;
        Ok(Ended::whole(Record {
            device: about.device.clone(),
            simulated: about.simulated,
            mode: about.mode,
            model: info.model.to_string(),
            serial: info.serial.to_string(),
            firmware: info.firmware.to_string(),
            version: controller.version().to_string(),
            vendor: info.vendor,
            controller_id: info.id,
            queue_pairs: controller.queues(),
            queue_entries: controller.capabilities().most_entries(),
            longest_transfer: controller.longest_transfer(),
            write_cache: info.has_write_cache,
            shadow_doorbells: info.has_shadow_doorbells(),
            write_zeroes: info.can_write_zeroes(),
            deallocate: info.can_deallocate(),
            temperature_kelvin: health.map(|health| health.temperature),
            warnings: health.map(|health| health.warnings),
            percent_used: health.map(|health| health.used),
            power_on_hours: health.map(|health| health.power_on_hours),
            media_errors: health.map(|health| health.media_errors),
            namespaces,
        }))
    }
}

/// Returns all namespaces, those that can't be used among them.
fn namespaces<D: DeviceHandle, M: DmaHandle, A: Access>(
    controller: &Controller<D, M, A>,
) -> Result<Vec<Entry>, NvmeError<A::Error>> {
    let mut namespaces = Vec::new();
    let mut ids = [0; 64];
    let mut after = 0;
    loop {
        let count = controller.namespace_ids(after, &mut ids)?;
        for id in ids.iter().take(count) {
            let found = unless_stopped(controller.namespace(*id))?;
            namespaces.push(Entry::new(*id, found));
            after = *id;
        }
        if count < ids.len() {
            return Ok(namespaces);
        }
    }
}

/// Returns the error of a question that failed alone, unless it stopped the controller.
fn unless_stopped<T, E>(
    result: Result<T, NvmeError<E>>,
) -> Result<Result<T, NvmeError<E>>, NvmeError<E>> {
    match result {
        Err(error) if error.stops() => Err(error),
        other => Ok(other),
    }
}

impl Entry {
    fn new<E: std::fmt::Display>(id: u32, found: Result<Namespace, NvmeError<E>>) -> Self {
        match found {
            Ok(namespace) => Self {
                id,
                usable: Some(usable(&namespace)),
                problem: None,
            },
            Err(error) => Self {
                id,
                usable: None,
                problem: Some(error.to_string()),
            },
        }
    }
}

fn usable(namespace: &Namespace) -> Usable {
    let formats = namespace.formats().iter().map(|format| Format {
        block_size: format.block_size(),
        metadata: format.metadata,
        performance: format.performance,
    });
    Usable {
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
    let unknown = || "not said".to_owned();
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
            record
                .temperature_kelvin
                .map_or_else(unknown, |kelvin| format!("{} °C", i32::from(kelvin) - 273)),
        ),
        (
            "media errors",
            record
                .media_errors
                .map_or_else(unknown, |count| count.to_string()),
        ),
    ];
    for (name, value) in lines {
        writeln!(out, "  {name:<20}{value}")?;
    }
    let mut table = output::table(["Namespace", "Size", "Blocks", "Block", "Formats"]);
    let mut problems = Vec::new();
    for entry in &record.namespaces {
        let Some(usable) = &entry.usable else {
            problems.extend(&entry.problem);
            continue;
        };
        let formats = usable.formats.iter().filter_map(|format| {
            let size = format.block_size?;
            Some(match format.metadata {
                0 => size.to_string(),
                metadata => format!("{size}+{metadata}"),
            })
        });
        table.add_row([
            entry.id.to_string(),
            describe::bytes(usable.bytes),
            usable.blocks.to_string(),
            describe::bytes(usable.block_size.into()),
            formats.collect::<Vec<_>>().join(" "),
        ]);
    }
    writeln!(out, "\n{table}")?;
    for problem in problems {
        writeln!(out, "{problem}")?;
    }
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_that_can_not_be_used_are_listed_with_the_others() {
        use vfio_core::dma::Dma;
        use vfio_core::open::Session;
        use vfio_core::wire::abi::pci_region;
        use vfio_drivers::nvme::Options;
        use vfio_hosted::model::{self, Nvme, NvmeNamespace};
        use vfio_hosted::sim::Kernel;

        let nvme = Nvme::new()
            // Blocks of 2^20 bytes, and no blocks.
            .with_namespace(NvmeNamespace::of_512(64).saying(130, &[20]))
            .with_namespace(NvmeNamespace::of_512(64).saying(0, &[0; 8]))
            // Formats that there are not, among them one of 2^200 bytes.
            .with_namespace(NvmeNamespace::of_512(64).saying(134, &[0, 0, 0, 0, 200]));
        let kernel = Kernel::new().with_device("0000:00:05.0", model::nvme_with(nvme), 1);
        let place = kernel.place("0000:00:05.0").unwrap();
        let Session { device, space, .. } = Session::open(&kernel, &place.as_place()).unwrap();
        let dma = Dma::<_, 16>::new(kernel.clone(), space).unwrap();
        let bar0 = device.bring_up(pci_region::BAR0).unwrap();
        let controller = Controller::start(&device, bar0, &dma, Options::default()).unwrap();
        let listed = serde_json::to_value(namespaces(&controller).unwrap()).unwrap();
        assert!(listed[0]["problem"].as_str().unwrap().contains("2^20"));
        assert!(
            listed[1]["problem"]
                .as_str()
                .unwrap()
                .contains("no namespace 2")
        );
        assert_eq!(listed[2]["id"], 3);
        assert_eq!(listed[2]["bytes"], 64 * 512);
        let sizes = [0, 1, 2].map(|format| listed[2]["formats"][format]["block_size"].as_u64());
        assert_eq!(sizes, [Some(512), None, None]);
    }

    #[test]
    fn a_namespace_that_can_not_be_used_is_listed_with_the_reason() {
        let error: NvmeError<std::fmt::Error> = NvmeError::Format {
            id: 2,
            index: 1,
            shift: 20,
        };
        let entry = serde_json::to_value(Entry::new(2, Err(error))).unwrap();
        assert_eq!(entry["id"], 2);
        assert!(entry["problem"].as_str().unwrap().contains("2^20 bytes"));
        assert!(entry.get("bytes").is_none());
        // Unless the controller was stopped because of it.
        assert!(unless_stopped::<(), std::fmt::Error>(Err(NvmeError::Gone)).is_err());
        assert!(unless_stopped::<(), _>(Err(error)).is_ok());
    }
}
