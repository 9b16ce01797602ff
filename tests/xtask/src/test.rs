//! Everything that a change must pass.

use std::process::ExitCode;

use anyhow::Result;

use crate::guest;
use crate::proofs;
use crate::steps::Steps;
use crate::tools::{cargo, run};

/// Runs every step, those after a failed one too.
pub(crate) fn run_all() -> Result<ExitCode> {
    let mut steps = Steps::default();
    steps.run("format", || run(cargo().args(["fmt", "--all", "--check"])));
    steps.run("lints", || {
        run(cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))
    });
    steps.run("tests", || {
        run(cargo().args(["test", "--workspace", "--features", "std"]))
    });
    steps.run("documentation", || {
        run(cargo()
            .args(["doc", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-Dwarnings"))
    });
    proofs::steps(&mut steps);
    guest::steps(&guest::Options::default(), &mut steps);
    Ok(steps.finish())
}
