//! `vfio run`: a reference driver, run on a device.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use vfio_core::sys::Sys;
use vfio_drivers::edu::{self, Outcome};

use crate::failure::Failure;
use crate::output;
use crate::target::{Opened, Target, Task, World};

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
    mode: &'static str,
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

pub(crate) fn run(args: Args, world: &World) -> Result<ExitCode, Failure> {
    let Driver::Edu { device, json } = args.driver;
    let record = device.open(world, Edu)?;
    if json {
        output::json(&record)?;
    } else {
        let mut out = output::stdout();
        writeln!(out, "edu on {}, {}", record.device, record.mode)?;
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
            sys,
            session,
            ..
        } = opened;
        let mode = session.mode;
        let report = edu::run(sys, session).map_err(|error| Failure::Drive {
            name: name.clone(),
            message: error.to_string(),
        })?;

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
            mode: mode.name(),
            iommu_driver: mode.iommu().name().unwrap_or("unknown"),
            passed: report.passed(),
            steps: steps.collect(),
        })
    }
}
