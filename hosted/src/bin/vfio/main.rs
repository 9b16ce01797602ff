//! The program `vfio`: shows the PCI devices of this system and what VFIO says about them.
//!
//! Exit status: 0 if it worked, 2 for a wrong usage or an unreadable file, 3 for a malformed reply, 4 for a reply that
//! did not fit into its buffer, 1 for any other failure.

mod completions;
mod decode;
mod describe;
mod failure;
mod inspect;
mod list;
mod output;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use vfio_hosted::discovery::System;

/// Shows PCI devices as VFIO sees them.
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

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    List(list::Args),
    Inspect(inspect::Args),
    Decode(decode::Args),
    Completions(completions::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let system = System::below(&cli.root);
    let result = match cli.command {
        Command::List(args) => list::run(&args, &system),
        Command::Inspect(args) => inspect::run(args, &system),
        Command::Decode(args) => decode::run(&args),
        Command::Completions(args) => completions::run(&args),
    };
    match result {
        Ok(status) => status,
        Err(failure) => {
            output::failure(&failure);
            failure.status()
        }
    }
}
