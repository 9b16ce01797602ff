//! `vfio completions`: what a shell needs to complete the command line.

use std::io::Write;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::failure::Failure;
use crate::{Cli, output};

/// Write a script that completes the command line of vfio.
///
/// For bash: `vfio completions bash > ~/.local/share/bash-completion/completions/vfio`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The shell that is to read the script.
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    // clap_complete panics where it cannot write, which into memory it can.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "vfio", &mut script);
    let mut out = output::stdout();
    out.write_all(&script)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
