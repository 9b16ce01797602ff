//! Images without an operating system: building, booting and testing them.

mod disk;
mod image;
mod instruction;
mod log;
mod machine;
mod net;
mod passthrough;
mod worlds;
mod x2apic;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::guest::qemu::Qemu;
use crate::steps::Steps;

pub(crate) use image::Image;
use machine::{Accelerator, End};
pub(crate) use machine::{Machine, Model, Running};
pub(crate) use worlds::SIZES;

/// Which image to boot, and where.
#[derive(Args)]
pub(crate) struct Options {
    /// The image: `edu` and `nvme`, the whole reference drivers; `inspect`, all that is said of the devices; or another one in
    /// `unikernel/src/bin`.
    #[arg(required_unless_present = "worlds", default_value = "")]
    image: String,
    /// Run the tests of all worlds in place of one image.
    #[arg(long, conflicts_with = "image")]
    worlds: bool,
    /// The machine.
    #[arg(long, value_enum, default_value_t)]
    machine: Model,
    /// Who runs its processor.
    #[arg(long, value_enum, default_value_t)]
    accel: Accelerator,
    /// A device, as QEMU's option of that name takes it; for several, given several times.
    #[arg(long = "device", value_name = "MODEL,...", default_value = "edu")]
    devices: Vec<String>,
    /// A disk image, for a device that says `drive=disk`.
    #[arg(long, value_name = "FILE")]
    disk: Option<PathBuf>,
    /// Memory, as QEMU's option -m takes it.
    #[arg(long, value_name = "SIZE", default_value = "64M")]
    memory: String,
    /// What the image is told.
    #[arg(long, value_name = "TEXT", default_value = "")]
    append: String,
    /// After how many seconds the image counts as hung.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    time_limit: u64,
    /// Build only, and print the path of the stripped image as the last line.
    #[arg(long)]
    build_only: bool,
}

/// Builds an image and boots it; its result is the task's.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.worlds {
        let mut steps = Steps::default();
        self::steps(&mut steps);
        return Ok(steps.finish());
    }
    let image = Image::build(&options.image)?;
    image.formats_nothing()?;
    println!("{}: {} bytes", image.name, image.size()?);
    if options.build_only {
        println!("{}", image.stripped.display());
        return Ok(ExitCode::SUCCESS);
    }
    let qemu = Qemu::installed()?;
    let machine = Machine {
        model: options.machine,
        accelerator: options.accel,
        devices: options.devices.clone(),
        options: options.disk.as_deref().map_or_else(Vec::new, disk::drive),
        memory: options.memory.clone(),
        command_line: options.append.clone(),
        has_no_exit: false,
        is_held_back: false,
    };
    let boot = machine.boot(&qemu, &image, Duration::from_secs(options.time_limit))?;
    println!(
        "the image {} after {:.1} s",
        boot.end,
        boot.time.as_secs_f64()
    );
    Ok(if boot.end == End::Success {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the tests of the images, one step for each world.
pub(crate) fn steps(steps: &mut Steps) {
    worlds::steps(steps);
}
