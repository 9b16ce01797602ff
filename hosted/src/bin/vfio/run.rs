//! `vfio run`: a reference driver, run on a device.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use vfio_core::session::{Mode, Session};
use vfio_core::sys::Sys;
use vfio_drivers::{edu, nvme};

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
    /// An NVMe controller: all commands, queue pairs, interrupts, events. Up to 128 KiB at the end of its first namespace
    /// are written, and get back what was there.
    Nvme {
        /// The PCI address (0000:00:06.0 or 00:06.0), or sim:nvme for the simulated device, which is the default.
        #[arg(default_value = "sim:nvme")]
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

struct Nvme;

pub(crate) fn run(args: Args, world: &World) -> Result<ExitCode, Failure> {
    let (record, json) = match args.driver {
        Driver::Edu { device, json } => (device.open(world, Edu)?, json),
        Driver::Nvme { device, json } => (device.open(world, Nvme)?, json),
    };
    if json {
        output::json(&record)?;
    } else {
        let mut out = output::stdout();
        let Record {
            driver,
            device,
            mode,
            ..
        } = &record;
        writeln!(out, "{driver} on {device}, {mode}")?;
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
        let (sys, session, about) = split(opened);
        let report = edu::run(sys, session).map_err(|error| about.failed(&error))?;
        let steps = report.steps.iter().map(|(step, outcome)| {
            let passed = matches!(outcome, edu::Outcome::Passed);
            Step::new(step.name(), passed, outcome)
        });
        Ok(about.record("edu", report.passed(), steps.collect()))
    }
}

impl Task for Nvme {
    type Output = Record;

    fn run<S: Sys + Clone>(self, opened: Opened<S>) -> Result<Record, Failure> {
        let (sys, session, about) = split(opened);
        let report = nvme::run(sys, session).map_err(|error| about.failed(&error))?;
        let steps = report.steps.iter().map(|(step, outcome)| {
            let passed = matches!(outcome, nvme::Outcome::Passed | nvme::Outcome::NotThere);
            Step::new(step.name(), passed, outcome)
        });
        Ok(about.record("nvme", report.passed(), steps.collect()))
    }
}

/// The device that a driver runs on.
struct About {
    device: String,
    simulated: bool,
    mode: Mode,
}

/// What a driver takes, and what is told of the device.
fn split<S: Sys>(opened: Opened<S>) -> (S, Session<S>, About) {
    let about = About {
        device: opened.name,
        simulated: opened.simulated,
        mode: opened.session.mode,
    };
    (opened.sys, opened.session, about)
}

impl About {
    fn failed(&self, error: &dyn Display) -> Failure {
        Failure::Drive {
            name: self.device.clone(),
            message: error.to_string(),
        }
    }

    fn record(self, driver: &'static str, passed: bool, steps: Vec<Step>) -> Record {
        Record {
            driver,
            device: self.device,
            simulated: self.simulated,
            mode: self.mode.name(),
            iommu_driver: self.mode.iommu().name().unwrap_or("unknown"),
            passed,
            steps,
        }
    }
}

impl Step {
    fn new(name: &'static str, passed: bool, outcome: &dyn Display) -> Self {
        Self {
            name,
            passed,
            detail: (!passed).then(|| outcome.to_string()),
        }
    }
}
