//! `vfio run`: a reference driver, run on a device.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use vfio_core::abi::pci_region;
use vfio_core::dma::{AddressSpace, Dma};
use vfio_core::mmio::ReadWrite;
use vfio_core::pci::{Command, Config, DeviceConfig};
use vfio_core::sys::Sys;
use vfio_drivers::edu::{self, Outcome};
use vfio_hosted::discovery::System;

use crate::failure::Failure;
use crate::output;
use crate::target::{Opened, Target, Task};

/// Run a reference driver on a device, step by step.
///
/// The device is reset where it can be, and driven: its registers are written, it reads and writes memory of this
/// program, it interrupts. Exits with 0 only if every step passed.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    driver: Driver,
}

/// The drivers.
#[derive(clap::Subcommand)]
enum Driver {
    /// QEMU's educational device: registers, factorials, DMA both ways, interrupts.
    Edu {
        /// The PCI address (0000:00:05.0 or 00:05.0), or sim:edu for the simulated device, which is the default.
        #[arg(default_value = "sim:edu")]
        device: Target,

        /// Write JSON.
        #[arg(long)]
        json: bool,
    },
}

/// What was done, as JSON.
#[derive(Serialize)]
struct Record {
    driver: &'static str,
    device: String,
    simulated: bool,
    iommu_driver: &'static str,
    passed: bool,
    steps: Vec<Step>,
}

/// A step, as JSON.
#[derive(Serialize)]
struct Step {
    name: &'static str,
    passed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

struct Edu;

pub(crate) fn run(args: Args, system: &System) -> Result<ExitCode, Failure> {
    let Driver::Edu { device, json } = args.driver;
    let record = device.open(system, Edu)?;
    if json {
        output::json(&record)?;
    } else {
        let mut out = output::stdout();
        writeln!(out, "edu on {}", record.device)?;
        for Step { name, detail, .. } in &record.steps {
            match detail {
                None => writeln!(out, "  passed  {name}")?,
                Some(detail) => writeln!(out, "  {0}failed{0:#}  {name}: {detail}", output::ERROR)?,
            }
        }
        out.flush()?;
    }
    Ok(if record.passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Task for Edu {
    type Output = Record;

    fn run<S: Sys + Clone>(self, opened: Opened<S>) -> Result<Record, Failure> {
        let Opened {
            name,
            simulated,
            iommu,
            sys,
            device,
            container,
            ..
        } = opened;
        let failed = |message: String| Failure::Drive {
            name: name.clone(),
            message,
        };
        let mut buffer = [0; 512];
        let ask = |error: &dyn std::fmt::Display| failed(error.to_string());

        let config = DeviceConfig::ask(&device, &mut buffer).map_err(|error| ask(&error))?;
        let mut config = Config::new(config);
        let command = config.command().map_err(|error| ask(&error))?;
        config
            .set_command(command | Command::MASTER | Command::MEMORY)
            .map_err(|error| ask(&error))?;
        let space = AddressSpace::Container(container);
        let dma = Dma::<_, 64>::new(sys, space).map_err(|error| ask(&error))?;
        let region = device
            .region(pci_region::BAR0, &mut buffer)
            .map_err(|error| ask(&error))?;
        let bar0 = device
            .map::<ReadWrite>(&region, 0)
            .map_err(|error| ask(&error))?;
        let report = edu::exercise(&device, bar0, &dma);

        let steps = report.steps.iter().map(|(step, outcome)| {
            let passed = matches!(outcome, Outcome::Passed);
            Step {
                name: step.name(),
                passed,
                detail: (!passed).then(|| outcome.to_string()),
            }
        });
        Ok(Record {
            driver: "edu",
            device: name.clone(),
            simulated,
            iommu_driver: iommu.name().unwrap_or("unknown"),
            passed: report.passed(),
            steps: steps.collect(),
        })
    }
}
