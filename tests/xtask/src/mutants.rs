//! Whether the tests notice when the code is changed: cargo-mutants, as `.cargo/mutants.toml` configures it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::paths;
use crate::tools::{cargo, find, run};

/// What is changed, and by whom.
#[derive(Args)]
pub(crate) struct Options {
    /// How many changes are tried at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// What else cargo-mutants is told, say `--shard 0/8` or `--list`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// The package that is changed.
const PACKAGE: &str = "vfio-core";

/// The package with tests that have to notice, beside its own.
const TESTS: &str = "vfio-conformance";

/// How many cases a property test tries: each is tried hundreds of times.
const CASES: &str = "64";

/// Seconds after which a change that loops for ever is noticed.
const TIMEOUT: &str = "120";

/// Changes the code in each way that is looked for, and fails where no test notices.
///
/// # Errors
///
/// cargo-mutants can't be had, or a change was not noticed.
pub(crate) fn run_all(options: &Options) -> Result<ExitCode> {
    // Without this a test that fails anyway would notice every change. cargo-mutants' own run names the tests of both
    // packages and only one of the packages, which cargo refuses.
    run(cargo()
        .args(["test", "--package", PACKAGE, "--package", TESTS])
        .env("PROPTEST_CASES", CASES))?;
    let mut mutants = cargo();
    mutants
        .arg("mutants")
        .args(["--package", PACKAGE])
        .args(["--jobs", &options.jobs.to_string()])
        .args(["--baseline", "skip", "--timeout", TIMEOUT])
        .arg("--output")
        .arg(paths::target())
        .args(&options.arguments)
        .env("PROPTEST_CASES", CASES);
    if let Some(folder) = installed()? {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(folder).chain(std::env::split_paths(&path));
        mutants.env("PATH", std::env::join_paths(folders)?);
    }
    run(&mut mutants)?;
    Ok(ExitCode::SUCCESS)
}

/// Installs cargo-mutants where it is missing, in a folder of its own, which is returned.
fn installed() -> Result<Option<PathBuf>> {
    if find("cargo-mutants").is_some() {
        return Ok(None);
    }
    let root = paths::target().join("tools");
    let folder = root.join("bin");
    if !folder.join("cargo-mutants").is_file() {
        println!(
            "cargo-mutants is missing: building it into {}",
            root.display()
        );
        run(cargo()
            .args(["install", "--quiet", "--locked", "cargo-mutants", "--root"])
            .arg(&root))?;
    }
    Ok(Some(folder))
}
