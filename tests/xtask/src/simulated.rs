//! The reference drivers on the simulated kernel, and on models that another process serves, as `vfio run` runs them.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use vfio_core::open::Mode;

use crate::paths;
use crate::steps::Steps;
use crate::test::FEATURES;
use crate::tools::{cargo, run};

/// The drivers that `vfio run` has.
const DRIVERS: [&str; 2] = ["edu", "nvme"];

/// How long a server may take to make its socket.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process that serves a model; killed on drop, where it has not ended.
struct Server(Child);

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
                let passed = drive_simulated(&program, driver, mode);
                ended.push((driver, format!("simulated kernel, {mode}"), passed));
            }
            let passed = drive_served(&program, driver);
            ended.push((driver, "vfio-user, vfio serve".to_owned(), passed));
        }
        let failed = ended.iter().filter(|(_, _, passed)| passed.is_err());
        ensure!(failed.count() == 0, "a driver failed");
        Ok(())
    });
    for (driver, world, passed) in ended {
        steps.matrix.add_step(driver, &world, &passed);
    }
}

fn drive_simulated(program: &Path, driver: &str, mode: Mode) -> Result<()> {
    let device = format!("sim:{driver}");
    let mut vfio = Command::new(program);
    vfio.args(["--mode", mode.name(), "run", driver, "--json", &device]);
    drive(vfio, driver, mode)
}

/// Runs a driver on the model of its name, which another process serves.
fn drive_served(program: &Path, driver: &str) -> Result<()> {
    let socket = paths::target().join(format!("vfio-user-{driver}"));
    let _server = Server::start(program, driver, &socket)?;
    let device = format!("unix:{}", socket.display());
    let mut vfio = Command::new(program);
    vfio.args(["run", driver, "--json", &device]);
    drive(vfio, driver, Mode::VfioUser)
}

/// Runs `vfio run`, and looks at what it says.
fn drive(mut vfio: Command, driver: &str, mode: Mode) -> Result<()> {
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

impl Server {
    /// Serves a model to one client, and waits until the socket is there.
    fn start(program: &Path, model: &str, socket: &Path) -> Result<Self> {
        let mut vfio = Command::new(program);
        vfio.args(["serve", model, "--once", "--socket"])
            .arg(socket);
        let child = vfio
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start vfio")?;
        let server = Self(child);
        let begun = Instant::now();
        while !socket.exists() {
            ensure!(begun.elapsed() < PATIENCE, "vfio serve made no socket");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After its client it ends by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
