//! Other programs: finding, installing and running them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::paths;

/// Finds `program` in `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// Makes sure that `program` is there: where it is missing, installs the Debian package `package`, and says so.
///
/// # Errors
///
/// It is missing and may not be installed (which takes root and apt-get), or installing it failed.
pub(crate) fn require(program: &str, package: &str) -> Result<()> {
    require_there(program, package, || find(program).is_some())
}

/// Works as [`require`], of a header of C's.
///
/// # Errors
///
/// As [`require`].
pub(crate) fn require_header(header: &str, package: &str) -> Result<()> {
    let is_there = || Path::new("/usr/include").join(header).is_file();
    require_there(header, package, is_there)
}

fn require_there(program: &str, package: &str, is_there: impl Fn() -> bool) -> Result<()> {
    if is_there() {
        return Ok(());
    }
    let by_hand = format!("install it with `sudo apt-get install {package}`");
    if find("apt-get").is_none() {
        bail!(
            "{program} is missing; install it with the system's package manager (Debian's package is {package})"
        );
    }
    if !rustix::process::geteuid().is_root() {
        bail!("{program} is missing; {by_hand}");
    }
    println!("{program} is missing: installing Debian's package {package} with apt-get");
    let mut install = apt_get();
    install.args(["install", "--yes", "--no-install-recommends", package]);
    // Lists that are missing or old name packages that the archive no longer has.
    if quiet(apt_get().arg("update"))
        .and_then(|()| quiet(&mut install))
        .is_err()
        || !is_there()
    {
        bail!("{program} is missing and could not be installed; {by_hand}");
    }
    Ok(())
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .args(["--quiet=2", "-o", "Dpkg::Use-Pty=0"])
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Returns the `cargo` that started this task, at the root of the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::root());
    command
}

/// Runs `command` to its end; it writes to this program's own output.
///
/// # Errors
///
/// It cannot be started, or ends with a failure.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    ensure!(status.success(), "{} failed ({status})", shown(command));
    Ok(())
}

/// Works as [`run`], but only a failure shows what it wrote.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn quiet(command: &mut Command) -> Result<()> {
    read(command).map(drop)
}

/// Runs `command` to its end and returns what it wrote to stdout.
///
/// # Errors
///
/// As [`run`], and where it writes no text. What it wrote to stderr is then shown.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        bail!("{} failed ({})", shown(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} writes no text", shown(command)))
}

/// Returns the command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let name = program
        .file_name()
        .unwrap_or(command.get_program())
        .to_string_lossy()
        .into_owned();
    let arguments = command
        .get_args()
        .map(|argument| argument.to_string_lossy().into_owned());
    let words: Vec<String> = std::iter::once(name).chain(arguments).collect();
    format!("`{}`", words.join(" "))
}
