//! Parts of checks that need a process of their own, since it does not survive them.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail};
use vfio_guest::Device;

use crate::checks::{decoding, dying, used};
use crate::mode::{MODES, Mode};

/// What tells the program that it is such a part.
pub(crate) const ARGUMENT: &str = "child";

/// Does a part of a check: its name, a device as JSON, and the name of a mode.
///
/// # Errors
///
/// What the part returns, if it does.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let [part, device, mode] = arguments else {
        bail!("a part, a device and a mode");
    };
    let device: Device = serde_json::from_str(device).context("cannot parse the device")?;
    let mode = MODES
        .into_iter()
        .find(|known| known.to_string() == *mode)
        .context("there is no such mode")?;
    match part.as_str() {
        decoding::OFF => decoding::touch_while_off(&device, mode),
        decoding::LOW => decoding::touch_while_low(&device, mode),
        dying::COPY => dying::copy_for_ever(&device, mode),
        used::STAY => used::stay(),
        _ => bail!("there is no part {part}"),
    }
}

/// Starts a part; what it prints is piped.
///
/// # Errors
///
/// The program cannot be started.
pub(crate) fn start(part: &str, device: &Device, mode: Mode) -> Result<Child> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    Command::new(program)
        .args([ARGUMENT, part])
        .args([serde_json::to_string(device)?, mode.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start a process")
}

/// Waits until a part has printed a line; false where it ends before.
///
/// # Errors
///
/// Its output cannot be read.
pub(crate) fn has_begun(child: &mut Child) -> Result<bool> {
    let output = child.stdout.take().context("the process has no output")?;
    let mut line = String::new();
    Ok(BufReader::new(output).read_line(&mut line)? > 0)
}

/// Returns how a process ended, in words.
pub(crate) fn described(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("signal {signal}"),
        None => status.to_string(),
    }
}
