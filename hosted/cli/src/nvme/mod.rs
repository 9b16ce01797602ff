//! `vfio nvme`: NVMe controllers, driven by this program in the place of the kernel.

mod bench;
pub(crate) mod contents;
pub(crate) mod cut_short;
pub(crate) mod drive;
mod identify;
mod picture;
mod transfer;

use std::process::ExitCode;

use crate::failure::Failure;
use crate::target::World;

/// Drive an NVMe controller: see what it is, read and write its blocks, and measure it.
///
/// The controller is this program's meanwhile: it is reset, and shut down at the end. Ctrl-C ends early, with what was
/// done until then told and the controller shut down; the second Ctrl-C ends at once.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    Identify(identify::Args),
    Read(transfer::ReadArgs),
    Write(transfer::WriteArgs),
    Bench(bench::Args),
}

pub(crate) fn run(args: Args, world: &World) -> Result<ExitCode, Failure> {
    match args.action {
        Action::Identify(args) => identify::run(&args, world),
        Action::Read(args) => transfer::read(&args, world),
        Action::Write(args) => transfer::write(&args, world),
        Action::Bench(args) => bench::run(&args, world),
    }
}
