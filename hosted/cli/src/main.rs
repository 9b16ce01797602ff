//! The program `vfio`: shows the PCI devices of this system and what VFIO says about them, binds and reaches them, and
//! serves models of devices to other processes.
//!
//! Exit status: 0 if it worked, 2 for a wrong usage or an unreadable file, 3 for a malformed reply, 4 for a reply that
//! did not fit into its buffer, 130 where a signal ended work before its end, 1 for any other failure.

mod access;
mod access_error;
mod attribute;
mod bind;
mod completions;
mod decode;
mod describe;
mod dump;
mod failure;
mod file;
mod inspect;
mod interrupt;
mod list;
mod map;
mod mode;
mod number;
mod nvme;
mod output;
mod region;
mod remedy;
mod reset;
mod run;
mod serve;
mod target;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use uuid::Uuid;
use vfio_core::open::Mode;
use vfio_hosted::discovery::System;

use target::World;

/// Shows PCI devices as VFIO sees them, binds them, and reaches their registers.
#[derive(Parser)]
#[command(name = "vfio", version, arg_required_else_help = true)]
struct Cli {
    /// Take /sys, /dev and pci.ids from below this directory, such as a copy of another system's.
    #[arg(
        long,
        global = true,
        hide = true,
        value_name = "DIR",
        default_value = "/"
    )]
    root: PathBuf,

    /// Open devices in this mode: with iommufd, through a container, without an IOMMU. Without it, in the best that
    /// there is. `noiommu` is never chosen: the device then reaches all memory of the machine, and saying so
    /// acknowledges it.
    #[arg(long, global = true, value_name = "MODE", value_parser = mode::parser())]
    mode: Option<Mode>,

    /// The token of an SR-IOV device: its physical function takes it, and its virtual ones are not opened without it.
    #[arg(long, global = true, value_name = "UUID")]
    vf_token: Option<Uuid>,

    /// Write JSON, failures too.
    #[arg(long, global = true)]
    json: bool,

    /// Map regions of a device at unix:PATH also where its server could cut their file short, which ends this program
    /// with SIGBUS. Without it they are reached by message then.
    #[arg(long, global = true)]
    map_unsealed: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    List(list::Args),
    Inspect(inspect::Args),
    Bind(bind::BindArgs),
    Unbind(bind::UnbindArgs),
    Read(access::ReadArgs),
    Write(access::WriteArgs),
    Dump(dump::Args),
    Watch(watch::Args),
    Map(map::Args),
    Reset(reset::Args),
    Decode(decode::Args),
    Run(run::Args),
    Serve(serve::Args),
    Nvme(nvme::Args),
    Completions(completions::Args),
}

fn main() -> ExitCode {
    if let Some(status) = attribute::written() {
        return status;
    }
    let cli = Cli::parse();
    let world = World {
        system: System::below(&cli.root),
        root: cli.root,
        mode: cli.mode,
        vf_token: cli.vf_token,
        json: cli.json,
        maps_unsealed: cli.map_unsealed,
    };
    let result = match cli.command {
        Command::List(args) => list::run(&args, &world),
        Command::Inspect(args) => inspect::run(args, &world),
        Command::Bind(args) => bind::bind(&args, &world),
        Command::Unbind(args) => bind::unbind(&args, &world),
        Command::Read(args) => access::read(&args, &world),
        Command::Write(args) => access::write(&args, &world),
        Command::Dump(args) => dump::run(&args, &world),
        Command::Watch(args) => watch::run(&args, &world),
        Command::Map(args) => map::run(&args, &world),
        Command::Reset(args) => reset::run(&args, &world),
        Command::Decode(args) => decode::run(&args, &world),
        Command::Run(args) => run::run(args, &world),
        Command::Serve(args) => serve::run(&args),
        Command::Nvme(args) => nvme::run(args, &world),
        Command::Completions(args) => completions::run(&args),
    };
    match result {
        Ok(status) => status,
        Err(failure) => {
            output::report(&failure, world.json);
            failure.status()
        }
    }
}
