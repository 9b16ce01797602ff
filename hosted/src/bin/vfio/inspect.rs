//! `vfio inspect`: all that VFIO says of a device.

use std::ffi::CString;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;
use std::str::FromStr;

use serde::Serialize;
use vfio_core::abi::Extension;
use vfio_core::container::{Container, OpenError};
use vfio_core::sys::Sys;
use vfio_hosted::discovery::{Address, Caller, Device, NoIommuMode, Obstacle, System};
use vfio_hosted::linux::Linux;
use vfio_hosted::report::{self, Inspection};
use vfio_hosted::sim::{Kernel, Model, model};

use crate::describe;
use crate::failure::Failure;
use crate::output;

/// Show a device's regions, interrupts, capabilities, IOMMU and reset set.
///
/// Without DEVICE it takes a device bound to vfio-pci, and where there is none the simulated edu. Exits with 3 where
/// an answer was malformed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The PCI address (0000:00:05.0 or 00:05.0), or sim:MODEL for a simulated device.
    #[arg(value_name = "DEVICE")]
    device: Option<Target>,

    /// Write JSON.
    #[arg(long)]
    json: bool,
}

/// The device that is meant.
#[derive(Clone, Copy)]
enum Target {
    /// One of this system.
    Real(Address),
    /// A model of the simulated kernel.
    Simulated(&'static str),
}

/// What is simulated where there is nothing real.
const DEFAULT_MODEL: &str = "edu";
/// The page size of the simulated host, in bytes.
const SIMULATED_PAGE: u64 = 4096;
/// The IOMMU group of the simulated device.
const SIMULATED_GROUP: u32 = 1;

/// A report, and what it is about.
#[derive(Serialize)]
struct Record {
    device: String,
    simulated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<u32>,
    iommu_driver: &'static str,
    #[serde(flatten)]
    inspection: Inspection,
}

pub(crate) fn run(args: Args, system: &System) -> Result<ExitCode, Failure> {
    let (target, why) = match args.device {
        Some(target) => (target, None),
        None => choose(system)?,
    };
    let record = match target {
        Target::Real(address) => real(&system.device(address)?, system)?,
        Target::Simulated(name) => simulated(name)?,
    };
    if args.json {
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

/// A device bound to vfio-pci that nothing stands before, or else the simulated one; and why.
fn choose(system: &System) -> Result<(Target, Option<String>), Failure> {
    let caller = Caller::current();
    let bound: Vec<Device> = system
        .devices()?
        .into_iter()
        .filter(Device::has_vfio_driver)
        .collect();
    let ready = bound
        .iter()
        .find(|device| first_obstacle(system, device, &caller).is_none());
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
        [first, ..] => format!(
            "{} is bound to vfio-pci but can't be opened: this is the simulated edu. \
             `vfio list {0}` tells why.",
            first.address
        ),
    };
    Ok((target, Some(why)))
}

/// What keeps a device from being looked at. Looking pins no memory.
fn first_obstacle(system: &System, device: &Device, caller: &Caller) -> Option<Obstacle> {
    system
        .obstacles(device, caller)
        .into_iter()
        .find(|obstacle| !matches!(obstacle, Obstacle::MemlockLimit { .. }))
}

fn real(device: &Device, system: &System) -> Result<Record, Failure> {
    if let Some(obstacle) = first_obstacle(system, device, &Caller::current()) {
        return Err(Failure::Obstacle {
            address: device.address,
            obstacle,
        });
    }
    let group = device
        .group
        .as_ref()
        .map(|group| group.number)
        .ok_or(Failure::Obstacle {
            address: device.address,
            obstacle: Obstacle::NoIommu {
                mode: NoIommuMode::NotLoaded,
            },
        })?;
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(SIMULATED_PAGE);
    inspect(Linux, group, &device.address.to_string(), page)
}

fn simulated(name: &str) -> Result<Record, Failure> {
    let address = "0000:00:05.0";
    // The name was checked when it was parsed.
    let model = Model::by_name(name).unwrap_or_else(model::edu);
    let kernel = Kernel::new().with_device(address, model, SIMULATED_GROUP);
    let record = inspect(kernel, SIMULATED_GROUP, address, SIMULATED_PAGE)?;
    Ok(Record {
        device: format!("sim:{name}"),
        simulated: true,
        ..record
    })
}

/// Opens a device through its group, and asks it about everything.
fn inspect<S: Sys + Clone>(sys: S, group: u32, name: &str, page: u64) -> Result<Record, Failure> {
    let open = |error| Failure::Open {
        name: name.to_owned(),
        error,
    };
    let container = Container::open(sys).map_err(open)?;
    let attached = container.attach(group).map_err(open)?;
    let iommu = [Extension::TYPE1V2_IOMMU, Extension::TYPE1_IOMMU]
        .into_iter()
        .find_map(|iommu| match container.set_iommu(iommu) {
            Err(OpenError::NoIommu(_)) => None,
            other => Some(other.map(|()| iommu)),
        })
        .unwrap_or(Err(OpenError::NoIommu(Extension::TYPE1_IOMMU)))
        .map_err(open)?;
    // Names come from an address: there is no NUL in them.
    let c_name = CString::new(name).unwrap_or_default();
    let device = attached.device(&c_name).map_err(open)?;
    Ok(Record {
        device: name.to_owned(),
        simulated: false,
        group: Some(group),
        iommu_driver: iommu.name().unwrap_or("unknown"),
        inspection: report::inspect(&device, Some(&container), page),
    })
}

impl Record {
    fn title(&self) -> String {
        let world = if self.simulated { ", simulated" } else { "" };
        match self.group {
            Some(group) => format!(
                "{}{world}, IOMMU group {group}, IOMMU driver {}",
                self.device, self.iommu_driver
            ),
            None => format!("{}{world}", self.device),
        }
    }
}

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(text: &str) -> Result<Self, UnknownTarget> {
        let unknown = || UnknownTarget(text.to_owned());
        match text.strip_prefix("sim:") {
            Some(name) => Model::NAMES
                .iter()
                .find(|model| **model == name)
                .map(|model| Self::Simulated(model))
                .ok_or_else(unknown),
            None => text.parse().map(Self::Real).map_err(|_| unknown()),
        }
    }
}

/// A word that names no device.
#[derive(Debug)]
struct UnknownTarget(String);

impl fmt::Display for UnknownTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is neither a PCI address such as 0000:00:05.0 nor one of sim:{}",
            self.0,
            Model::NAMES.join(", sim:")
        )
    }
}

impl std::error::Error for UnknownTarget {}
