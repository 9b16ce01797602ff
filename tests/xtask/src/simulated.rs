//! The reference drivers on the simulated kernel, as `vfio run` runs them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use vfio_core::open::Mode;

use crate::paths;
use crate::steps::Steps;
use crate::test::FEATURES;
use crate::tools::{cargo, run};

/// The drivers that `vfio run` has.
const DRIVERS: [&str; 2] = ["edu", "nvme"];

/// Runs each driver in each mode, as one step.
pub(crate) fn steps(steps: &mut Steps) {
    let mut ended = Vec::new();
    steps.run("drivers on the simulated kernel", || {
        // As the tests have built it: `cargo build` leaves out the features that they alone need,
        // and would build all that it is made of once more.
        let mut build = cargo();
        build.args(["test", "--no-run", "--quiet", "--workspace"]);
        run(build.args(["--features", FEATURES]))?;
        let program = paths::target().join("debug/vfio");
        for driver in DRIVERS {
            for mode in Mode::PREFERRED {
                let passed = drive(&program, driver, mode);
                ended.push((driver, mode, passed));
            }
        }
        let failed = ended.iter().filter(|(_, _, passed)| passed.is_err());
        ensure!(failed.count() == 0, "a driver failed");
        Ok(())
    });
    for (driver, mode, passed) in ended {
        let world = format!("simulated kernel, {mode}");
        steps.matrix.add_step(driver, &world, &passed);
    }
}

fn drive(program: &Path, driver: &str, mode: Mode) -> Result<()> {
    let device = format!("sim:{driver}");
    let mut vfio = Command::new(program);
    vfio.args(["--mode", mode.name(), "run", driver, "--json", &device]);
    let output = vfio.output().context("cannot start vfio")?;
    let record: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let steps = record["steps"].as_array().map(Vec::as_slice);
    let failed = steps
        .unwrap_or_default()
        .iter()
        .find(|step| step["passed"] != true);
    if let Some(failed) = failed {
        anyhow::bail!("{}: {}", failed["name"], failed["detail"]);
    }
    ensure!(
        output.status.success() && record["passed"] == true && record["mode"] == mode.name(),
        "{record}"
    );
    println!("{driver} passed in the mode {mode}");
    Ok(())
}
