//! `vfio map`: a picture of the regions.

mod layout;
mod picture;
mod terminal;

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;
use vfio_core::pci::{Config, ConfigError, DeviceConfig, Msix};
use vfio_core::sys::Sys;
use vfio_core::wire::abi::pci_region;
use vfio_hosted::report::{self, RegionReport, Trouble};

use crate::failure::{self, Failure};
use crate::file::Output;
use crate::output;
use crate::target::{Opened, Target, Task, World};

/// Draw a device's BARs: what is mapped, what is trapped, and where MSI-X lies.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The PCI address (0000:00:05.0 or 00:05.0), unix:SOCKET for a served device, or sim:MODEL for
    /// a simulated one.
    device: Target,

    /// Write the picture as SVG to this file; - for standard output.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    svg: Option<PathBuf>,
}

/// What is drawn, as JSON.
#[derive(Serialize)]
struct Map {
    device: String,
    simulated: bool,
    /// The page size of the host, in bytes.
    page: u64,
    regions: Vec<RegionReport>,
    msix: Option<MsixPlace>,
    troubles: Vec<Trouble>,
}

/// Where MSI-X has its tables.
#[derive(Clone, Copy, Serialize)]
struct MsixPlace {
    vectors: u16,
    table: Place,
    pending: Place,
}

/// A part of a region. Both numbers are the device's, and may lie past the region.
#[derive(Clone, Copy, Serialize)]
struct Place {
    /// The index of the region.
    region: u32,
    offset: u64,
    /// Bytes.
    size: u64,
}

struct Draw;

pub(crate) fn run(args: &Args, world: &World) -> Result<ExitCode, Failure> {
    let svg = args.svg.as_deref().map(Output::open).transpose()?;
    let map = args.device.open(world, Draw)?;
    match svg {
        _ if world.json => output::json(&map)?,
        None => terminal::draw(&map)?,
        Some(mut file) => file.text(&picture::svg(&map))?,
    }
    for trouble in &map.troubles {
        output::failure(&Failure::Trouble {
            name: map.device.clone(),
            trouble: trouble.clone(),
        });
    }
    Ok(match map.troubles.as_slice() {
        [] => ExitCode::SUCCESS,
        troubles if troubles.iter().any(|trouble| trouble.malformed) => {
            ExitCode::from(failure::MALFORMED)
        }
        _ => ExitCode::FAILURE,
    })
}

impl Task for Draw {
    type Output = Map;

    fn run<S: Sys + Clone>(self, opened: Opened<S>) -> Result<Map, Failure> {
        let (regions, mut troubles) = report::regions(&opened.session.device, opened.page);
        let msix = msix(&opened, &regions).unwrap_or_else(|trouble| {
            troubles.push(trouble);
            None
        });
        Ok(Map {
            device: opened.name.clone(),
            simulated: opened.simulated,
            page: opened.page,
            // Configuration space is never mapped: there is nothing to see.
            regions: regions
                .into_iter()
                .filter(|region| region.size > 0 && region.index != pci_region::CONFIG)
                .collect(),
            msix,
            troubles,
        })
    }
}

/// Returns where the MSI-X capability says that the tables are.
fn msix<S: Sys + Clone>(
    opened: &Opened<S>,
    regions: &[RegionReport],
) -> Result<Option<MsixPlace>, Trouble> {
    let Some(config) = regions
        .iter()
        .find(|region| region.index == pci_region::CONFIG && region.size > 0)
    else {
        return Ok(None);
    };
    let config = Config::new(DeviceConfig::new(
        &opened.session.device,
        config.offset,
        config.size,
    ));
    let found = config.find::<Msix>().map_err(|error| Trouble {
        subject: "configuration space".into(),
        message: error.to_string(),
        malformed: !matches!(error, ConfigError::Access { .. }),
    })?;
    Ok(found.map(|msix| MsixPlace {
        vectors: msix.table.vectors(),
        table: Place::new(msix.table.bar(), &msix.table.range()),
        pending: Place::new(msix.pending.bar(), &msix.pending.range()),
    }))
}

impl Map {
    /// Returns the title of the picture.
    fn title(&self) -> String {
        let world = if self.simulated { ", simulated" } else { "" };
        format!("{}{world}", self.device)
    }

    /// Returns the line about MSI-X.
    fn msix_line(&self) -> String {
        self.msix.map_or_else(
            || "no MSI-X".into(),
            |MsixPlace {
                 vectors,
                 table,
                 pending,
             }| {
                format!(
                    "MSI-X: {vectors} vectors, table in BAR{} at {:#x}, pending bits in BAR{} at {:#x}",
                    table.region, table.offset, pending.region, pending.offset
                )
            },
        )
    }
}

impl Place {
    const fn new(region: u32, range: &std::ops::Range<u64>) -> Self {
        Self {
            region,
            offset: range.start,
            size: range.end.saturating_sub(range.start),
        }
    }
}
