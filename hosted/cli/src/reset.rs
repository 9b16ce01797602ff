//! `vfio reset`: resets a device.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use vfio_core::sys::Sys;

use crate::failure::Failure;
use crate::output;
use crate::target::{Opened, Target, Task, World};

/// Reset a device alone, without the others on its bus.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The PCI address (0000:00:05.0 or 00:05.0), unix:SOCKET for a served device, or sim:MODEL for
    /// a simulated one.
    device: Target,
}

/// What was reset, as JSON.
#[derive(Serialize)]
struct Record {
    device: String,
}

struct Reset;

pub(crate) fn run(args: &Args, world: &World) -> Result<ExitCode, Failure> {
    let device = args.device.open(world, Reset)?;
    if world.json {
        output::json(&Record { device })?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = output::stdout();
    writeln!(out, "{device} was reset.")?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

impl Task for Reset {
    /// The name of the device.
    type Output = String;

    fn run<S: Sys + Clone>(self, opened: Opened<S>) -> Result<String, Failure> {
        opened
            .session
            .device
            .reset()
            .map_err(|errno| Failure::Reset {
                name: opened.name.clone(),
                errno,
            })?;
        Ok(opened.name.clone())
    }
}
