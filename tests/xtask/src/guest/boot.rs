//! Booting a machine and waiting for its end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use vfio_guest::Plan;

use super::kernel::Kernel;
use super::machine;
use super::monitor::Monitor;
use super::qemu::Qemu;

/// How often the machine is looked at.
const POLL: Duration = Duration::from_millis(50);

/// What only the last line of the results has.
const LAST_LINE: &str = "\"kernel\":";

/// How many lines of the console are shown when a boot fails.
const LAST_LINES: usize = 50;

/// A machine that has ended.
pub(crate) struct Boot {
    /// What the guest wrote to its results port.
    pub(crate) results: String,
    /// From the start of QEMU to its end.
    pub(crate) time: Duration,
    /// Whether the time limit ended it.
    pub(crate) hung: bool,
    directory: PathBuf,
}

impl Boot {
    /// Returns the end of what QEMU and the guest's console said.
    pub(crate) fn last_words(&self) -> String {
        let mut text = String::new();
        for name in ["qemu", "console"] {
            let all = lossy(&self.directory.join(name));
            let lines: Vec<&str> = all.lines().collect();
            let start = lines.len().saturating_sub(LAST_LINES);
            text += &format!("-- the end of {}:\n", self.directory.join(name).display());
            for line in lines.into_iter().skip(start) {
                text += line;
                text.push('\n');
            }
        }
        text
    }
}

/// A QEMU that does not outlive its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Boots `kernel` with `initrd` for `plan`, and waits until the machine ends, or ends it after `limit`. Where the plan has a
/// power cut, it is ended as soon as everything is reported.
///
/// # Errors
///
/// QEMU cannot be started.
pub(crate) fn boot(
    kernel: &Kernel,
    qemu: &Qemu,
    plan: &Plan,
    initrd: &Path,
    directory: &Path,
    limit: Duration,
) -> Result<Boot> {
    for name in ["console", "results"] {
        // What an earlier boot left would pass for this one's.
        let path = directory.join(name);
        File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    }
    let log = File::create(directory.join("qemu")).context("cannot create QEMU's log")?;
    let mut command = machine::command(kernel, qemu, plan, initrd, directory)?;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log);

    let start = Instant::now();
    let mut running = Running(command.spawn().context("cannot start QEMU")?);
    let mut monitor = Monitor::of(&mut running.0)?;
    let mut hung = false;
    while running.0.try_wait()?.is_none() {
        if plan.power_cut && lossy(&directory.join("results")).contains(LAST_LINE) {
            break;
        }
        if start.elapsed() > limit {
            hung = true;
            break;
        }
        monitor.follow(&directory.join("results"))?;
        thread::sleep(POLL);
    }
    drop(running);
    let results = lossy(&directory.join("results"));
    Ok(Boot {
        results,
        time: start.elapsed(),
        hung,
        directory: directory.into(),
    })
}

/// Returns the text of the file at `path`. A guest's console may hold anything.
fn lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
