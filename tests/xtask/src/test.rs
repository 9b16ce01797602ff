//! Everything that a change must pass.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::fuzz;
use crate::guest::{self, Guest};
use crate::proofs;
use crate::simulated;
use crate::soundness;
use crate::steps::Steps;
use crate::tools::{cargo, run};
use crate::unikernel;

/// What only adds, and is off by default.
pub(crate) const FEATURES: &str = "std,vfio-core/pci_types";

/// How much is tried.
#[derive(Args)]
pub(crate) struct Options {
    /// Leave out what takes minutes: proofs, memory checkers, fuzzing, guests and images.
    #[arg(long)]
    quick: bool,
}

/// What `--quick` leaves out.
const SLOW: [&str; 5] = ["proofs", "soundness", "fuzz", "guests", "unikernel"];

/// What is done side by side: each has steps of its own.
enum Lane<'a> {
    /// What is built in the workspace's own target folder.
    Workspace,
    /// What is built for the checkers of memory and of threads.
    Soundness,
    Fuzz,
    Guest(Guest<'a>),
    Images,
}

/// Runs every step, those after a failed one too.
pub(crate) fn run_all(options: &Options) -> Result<ExitCode> {
    let mut steps = Steps::default();
    format(&mut steps);
    if options.quick {
        lints(&mut steps);
        tests(&mut steps);
        for name in SLOW {
            steps.not_run(name, "left out by --quick");
        }
        return Ok(steps.finish());
    }
    let guests_options = guest::Options::default();
    let tools = guest::tools(&mut steps);
    let guests = tools.as_ref().map_or_else(Vec::new, |tools| {
        guest::guests(&guests_options, tools, &mut steps)
    });
    // An emulated processor keeps one of this machine's busy, and builds all others. What is
    // longest begins first.
    let lanes = std::iter::once(Lane::Workspace)
        .chain(guests.into_iter().map(Lane::Guest))
        .chain([Lane::Soundness, Lane::Fuzz, Lane::Images]);
    steps.append_side_by_side(lanes.collect(), Lane::run);
    Ok(steps.finish())
}

impl Lane<'_> {
    fn run(self) -> Steps {
        let mut steps = Steps::default();
        match self {
            Self::Workspace => {
                tests(&mut steps);
                lints(&mut steps);
                proofs::steps(&mut steps);
            }
            Self::Soundness => soundness::steps(&mut steps),
            Self::Fuzz => fuzz::steps(&mut steps),
            Self::Guest(guest) => return guest.boot(),
            Self::Images => unikernel::steps(&mut steps),
        }
        steps
    }
}

/// Checks how the source is laid out.
fn format(steps: &mut Steps) {
    steps.run("format", || run(cargo().args(["fmt", "--all", "--check"])));
}

/// Checks how the source is written.
fn lints(steps: &mut Steps) {
    steps.run("lints", || {
        run(cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--features",
            FEATURES,
            "--",
            "-D",
            "warnings",
        ]))
    });
    // What has no place in the workspace's common build: defmt needs a logger to link.
    for (package, features) in [
        ("vfio-core", ["--all-features"].as_slice()),
        ("vfio-core", &[]),
        ("vfio-drivers", &["--all-features"]),
        ("vfio-exercise", &["--all-features"]),
        ("vfio-hosted", &["--no-default-features"]),
    ] {
        let name = format!("lints: {package} {}", features.join(" "));
        steps.run(name.trim_end(), || {
            run(cargo()
                .args(["clippy", "--package", package])
                .args(features)
                .args(["--", "-D", "warnings"]))
        });
    }
    steps.run("all features at once", || {
        run(cargo().args(["check", "--workspace", "--all-features"]))
    });
}

/// Runs the tests, and builds the documentation.
fn tests(steps: &mut Steps) {
    steps.run("tests", || {
        run(cargo().args(["test", "--workspace", "--features", FEATURES]))
    });
    steps.run("documentation", || {
        run(cargo()
            .args(["doc", "--workspace", "--no-deps", "--features", FEATURES])
            .env("RUSTDOCFLAGS", "-Dwarnings"))
    });
    simulated::steps(steps);
}
