//! `vfio inspect`: all that VFIO says of a device.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use vfio_core::open::Mode;
use vfio_core::sys::Sys;
use vfio_hosted::discovery::{Caller, SysfsDevice};
use vfio_hosted::report::{self, Inspection};

use crate::describe;
use crate::failure::Failure;
use crate::output;
use crate::target::{Opened, Target, Task, World, first_obstacle};

/// Show a device's regions, interrupts, capabilities, IOMMU and reset set.
///
/// Without DEVICE it takes a device bound to vfio-pci, and where there is none the simulated edu. Exits with 3 where
/// an answer was malformed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The PCI address (0000:00:05.0 or 00:05.0), unix:SOCKET for a served device, or sim:MODEL for
    /// a simulated one.
    #[arg(value_name = "DEVICE")]
    device: Option<Target>,
}

/// What is simulated where there is nothing real.
const DEFAULT_MODEL: &str = "edu";
/// Asks a device about everything.
struct Inspect;

/// A report, and what it is about.
#[derive(Serialize)]
struct Record {
    device: String,
    simulated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<u32>,
    mode: &'static str,
    iommu_driver: &'static str,
    #[serde(flatten)]
    inspection: Inspection,
}

pub(crate) fn run(args: Args, world: &World) -> Result<ExitCode, Failure> {
    let (target, why) = match args.device {
        Some(target) => (target, None),
        None => choose(world)?,
    };
    let record = target.open(world, Inspect)?;
    if world.json {
        output::json(&record)?;
    } else {
        let mut out = output::stdout();
        if let Some(why) = why {
            writeln!(out, "{why}\n")?;
        }
        describe::inspection(&mut out, &record.title(), &record.inspection)?;
        out.flush()?;
    }
    let troubles = &record.inspection.troubles;
    Ok(if troubles.iter().any(|trouble| trouble.malformed) {
        ExitCode::from(crate::failure::MALFORMED)
    } else if troubles.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Returns a device bound to vfio-pci that nothing stands before, or else the simulated one. And why. One without an
/// IOMMU is taken where that is asked for alone.
fn choose(world: &World) -> Result<(Target, Option<String>), Failure> {
    let system = &world.system;
    let is_meant = |device: &SysfsDevice| !device.is_noiommu() || world.mode == Some(Mode::NoIommu);
    let caller = Caller::current();
    let bound: Vec<SysfsDevice> = system
        .devices()?
        .into_iter()
        .filter(SysfsDevice::has_vfio_driver)
        .collect();
    let ready = bound
        .iter()
        .find(|device| is_meant(device) && first_obstacle(system, device, &caller).is_none());
    if let Some(device) = ready {
        let why = format!(
            "{} is bound to vfio-pci, and no device was named.",
            device.address
        );
        return Ok((Target::Real(device.address), Some(why)));
    }
    let target = Target::Simulated(DEFAULT_MODEL);
    let why = match bound.as_slice() {
        [] => "No device is bound to vfio-pci: this is the simulated edu. \
               `vfio list` tells how to bind one."
            .to_owned(),
        [first, ..] if !is_meant(first) => format!(
            "{} is bound to vfio-pci, and no IOMMU confines it: this is the simulated edu. \
             `--mode noiommu` opens it all the same.",
            first.address
        ),
        [first, ..] => format!(
            "{} is bound to vfio-pci but can't be opened: this is the simulated edu. \
             `vfio list {0}` tells why.",
            first.address
        ),
    };
    Ok((target, Some(why)))
}

impl Task for Inspect {
    type Output = Record;

    /// A container says more of its IOMMU than iommufd does.
    const MODES: &'static [Mode] = &[
        Mode::Type1v2,
        Mode::Type1,
        Mode::IommufdType1v2,
        Mode::IommufdType1,
        Mode::Iommufd,
        Mode::NoIommu,
    ];

    fn run<S: Sys + Clone>(self, opened: Opened<S>) -> Result<Record, Failure> {
        let mode = opened.session.mode;
        Ok(Record {
            device: opened.name.clone(),
            simulated: opened.simulated,
            group: opened.group,
            mode: mode.name(),
            iommu_driver: mode.iommu().name().unwrap_or("unknown"),
            inspection: report::inspect(&opened.session.device, &opened.session.space, opened.page),
        })
    }
}

impl Record {
    fn title(&self) -> String {
        let world = if self.simulated { ", simulated" } else { "" };
        let mode = self.mode;
        match self.group {
            Some(group) => format!("{}{world}, IOMMU group {group}, {mode}", self.device),
            None => format!("{}{world}, {mode}", self.device),
        }
    }
}
