//! Everything that a change must pass.

use std::panic::resume_unwind;
use std::process::ExitCode;
use std::thread;

use anyhow::Result;

use crate::fuzz;
use crate::guest;
use crate::proofs;
use crate::simulated;
use crate::soundness;
use crate::steps::Steps;
use crate::tools::{cargo, run};
use crate::unikernel;

/// What only adds, and is off by default.
const FEATURES: &str = "std,vfio-core/pci_types";

/// Runs every step, those after a failed one too.
pub(crate) fn run_all() -> Result<ExitCode> {
    let mut steps = Steps::default();
    steps.run("format", || run(cargo().args(["fmt", "--all", "--check"])));
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
    steps.run("tests", || {
        run(cargo().args(["test", "--workspace", "--features", FEATURES]))
    });
    steps.run("documentation", || {
        run(cargo()
            .args(["doc", "--workspace", "--no-deps", "--features", FEATURES])
            .env("RUSTDOCFLAGS", "-Dwarnings"))
    });
    proofs::steps(&mut steps);
    soundness::steps(&mut steps);
    simulated::steps(&mut steps);
    fuzz::steps(&mut steps);
    let tools = guest::tools(&mut steps);
    // The guest that takes longest is alone at its end: images are booted meanwhile.
    let images = thread::scope(|scope| {
        let images = scope.spawn(|| {
            let mut steps = Steps::default();
            unikernel::steps(&mut steps);
            steps
        });
        if let Some(tools) = &tools {
            guest::boot_all(&guest::Options::default(), tools, &mut steps);
        }
        images.join()
    });
    steps.append(images.unwrap_or_else(|panic| resume_unwind(panic)));
    Ok(steps.finish())
}
