//! The init of a test guest: prepares the devices of its plan, runs the checks on them, reports, and powers off.
//!
//! In the guest, `vfio-guest count` is a process whose system calls are counted. On the host, `vfio-guest list` reads a plan from stdin and prints the cases that a guest would run for it.

mod bind;
mod boot;
mod checks;
mod child;
mod mdev;
mod mode;
mod modules;
mod program;
mod report;
mod session;
mod world;

use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};

fn main() -> ExitCode {
    if std::process::id() == 1 {
        boot::run()
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((first, rest)) if first == checks::COUNT => checks::run_child(rest),
        Some((first, rest)) if first == child::ARGUMENT => child::run(rest),
        Some((first, _)) if first == "list" => list(),
        _ => Err(anyhow!(
            "this is the init of a test guest; start it with `cargo xtask guest`"
        )),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vfio-guest: {error:#}.");
            ExitCode::FAILURE
        }
    }
}

/// Prints the cases for the plan on stdin as JSON, one to a line.
fn list() -> Result<()> {
    let plan = serde_json::from_reader(std::io::stdin().lock())
        .context("cannot read the plan on stdin")?;
    for case in checks::cases(&plan) {
        println!("{}", serde_json::to_string(&case)?);
    }
    Ok(())
}
