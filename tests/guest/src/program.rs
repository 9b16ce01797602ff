//! Programs that run in the guest.

use std::process::Command;

use anyhow::{Context as _, Result};

/// What a program left behind.
pub(crate) struct Ended {
    /// The exit status; `None` where a signal ended it.
    pub(crate) status: Option<i32>,
    /// What it wrote to stdout.
    pub(crate) stdout: String,
    /// What it wrote to stderr.
    pub(crate) stderr: String,
}

/// Runs `program` to its end.
///
/// # Errors
///
/// The program cannot be started, or what it writes is not UTF-8.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<Ended> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    Ok(Ended {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout)
            .with_context(|| format!("{program} writes no text"))?,
        stderr: String::from_utf8(output.stderr)
            .with_context(|| format!("{program} writes no text"))?,
    })
}
