//! What is proved by linking: that the core can't panic, that it allocates nothing, how small its parsing half is, and
//! that a register access is the instruction that it has to be.

mod access;
mod functions;
pub(crate) mod image;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail, ensure};

use crate::paths;
use crate::steps::Steps;
use crate::tools::{cargo, run};

use image::Image;

/// How large the parsing half may be, in bytes of machine code.
pub(crate) const MAX_PARSING_HALF: u64 = 8 * 1024;

/// The package of the programs without libc and std.
const PACKAGE: &str = "vfio-freestanding";

/// What the linker must miss where a panic can be reached.
const PANIC: &str = "panic_is_reachable";

/// Runs the proofs alone.
pub(crate) fn run_alone() -> Result<ExitCode> {
    let mut steps = Steps::default();
    self::steps(&mut steps);
    Ok(steps.finish())
}

/// Runs the proofs.
pub(crate) fn steps(steps: &mut Steps) {
    steps.run("proofs: lints", || {
        run(cargo()
            .args(["clippy", "--package", PACKAGE, "--bins"])
            .args(["--profile", "freestanding"])
            .args(["--features", "init,no-panic,register-access"])
            .args(["--", "-D", "warnings"])
            .env("CARGO_TARGET_DIR", target()))
    });
    steps.run("proofs: every function is called", functions::check);
    steps.run("proofs: no panic, no allocation", || {
        let image = build("no-panic", "no-panic")?;
        image.has_no_allocator()?;
        println!("no-panic links, and has no allocator");
        Ok(())
    });
    steps.run("proofs: a panic does not link", panic_does_not_link);
    steps.run("proofs: size of the parsing half", || {
        let size = parsing_half()?;
        println!("{size} bytes of machine code, of at most {MAX_PARSING_HALF}");
        ensure!(size <= MAX_PARSING_HALF, "the parsing half is too large");
        Ok(())
    });
    for level in LEVELS {
        steps.run(
            &format!("proofs: machine code of register accesses, opt-level {level}"),
            || access::check(&register_accesses(level)?),
        );
    }
}

/// How the register accesses are compiled: as small and as fast code.
const LEVELS: [&str; 2] = ["s", "3"];

/// Returns the size of the parsing half, in bytes of machine code.
///
/// # Errors
///
/// The program that consists of it can't be built.
pub(crate) fn parsing_half() -> Result<u64> {
    build("parsing-half", "freestanding")?.code_size()
}

/// Builds the init that needs neither libc nor std, and returns its path.
///
/// # Errors
///
/// The build fails.
pub(crate) fn init() -> Result<PathBuf> {
    run(&mut command("init", "init"))?;
    Ok(target().join("freestanding/init"))
}

/// Builds one of the proofs.
fn build(program: &str, features: &str) -> Result<Image> {
    run(&mut command(program, features))?;
    Image::read(&target().join("freestanding").join(program))
}

/// Builds the register accesses, optimised to a level of its own.
fn register_accesses(level: &str) -> Result<Image> {
    let target = target().join(format!("opt-level-{level}"));
    run(command("register-access", "register-access")
        .env("CARGO_PROFILE_FREESTANDING_OPT_LEVEL", level)
        .env("CARGO_TARGET_DIR", &target))?;
    Image::read(&target.join("freestanding/register-access"))
}

/// Checks that a deliberate panic keeps the proof from linking. Otherwise the proof proves nothing.
fn panic_does_not_link() -> Result<()> {
    let output = command("no-panic", "deliberate-panic").output()?;
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !output.status.success(),
        "a program with a panic was linked"
    );
    let line = message
        .lines()
        .find(|line| line.contains("undefined") && line.contains(PANIC));
    match line {
        Some(line) => println!(
            "as it should be: {}",
            line.trim_start_matches([' ', '=', '|'])
        ),
        None => bail!("the build failed, but not for {PANIC}:\n{message}"),
    }
    Ok(())
}

fn command(program: &str, features: &str) -> Command {
    let mut command = cargo();
    command
        .args(["build", "--package", PACKAGE, "--bin", program])
        .args(["--profile", "freestanding", "--features", features])
        .env("CARGO_TARGET_DIR", target());
    command
}

/// Returns a target directory of its own: with other packages in one build, their features would be
/// unified.
fn target() -> PathBuf {
    paths::target().join("proofs")
}
