//! The tests under two checkers of memory, valgrind's memcheck and AddressSanitizer, a race under
//! ThreadSanitizer, and what the types must refuse.
//!
//! Memcheck finds bytes that are used before they are written, and what is lost; it is slow, and
//! runs what is quick, as the step of all tests has built it. AddressSanitizer finds what is touched out of bounds or after its end.
//! ThreadSanitizer finds data races; as the standard library is not instrumented, it takes what
//! that does between threads for races, and watches one program that makes its threads without it.
//! Both are unstable flags of the compiler, which the pinned toolchain has, and which
//! `RUSTC_BOOTSTRAP` unlocks for these builds alone.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};
use serde::Deserialize;

use crate::paths;
use crate::steps::Steps;
use crate::test::FEATURES;
use crate::tools::{cargo, read, require, run};

/// What memcheck is told. What the test harness itself may still point to is not counted as lost.
const MEMCHECK: [&str; 5] = [
    "--quiet",
    "--error-exitcode=1",
    "--leak-check=full",
    "--show-leak-kinds=definite",
    "--errors-for-leak-kinds=definite",
];

/// Tests that run under either checker, by their packages' names.
const PACKAGES: [&str; 5] = [
    "vfio-core",
    "vfio-drivers",
    "vfio-exercise",
    "vfio-hosted",
    "vfio-conformance",
];

/// The integration tests that run under either.
const QUICK: [&str; 8] = [
    "behaviour",
    "edu",
    "fixtures",
    "hostile",
    "pci",
    "property",
    "server",
    "sparse",
];

/// Those that are too slow for memcheck: they open devices thousands of times, or poll and copy
/// much.
const SLOW: [&str; 4] = ["failures", "igb", "nvme", "rounds"];

/// Tests in which memory is kept for ever on purpose: nothing tells that the device is done with
/// it. AddressSanitizer does not look for what is lost in these.
const KEEPING: [&str; 10] = [
    "a_controller_that_was_left_running_is_stopped_first",
    "a_short_transfer_is_an_error_that_says_how_short",
    "an_answer_that_a_request_does_not_have_is_an_error",
    "each_call_that_fails_ends_the_session_with_its_error",
    "a_controller_that_is_gone_has_its_blocks_not_restored",
    "a_controller_that_is_gone_is_noticed",
    "a_controller_that_is_gone_keeps_its_memory",
    "memory_that_can_not_be_unmapped_is_never_freed_nor_given_out_again",
    "memory_that_was_unmapped_behind_its_back_is_never_freed",
    "memory_is_kept_where_nothing_tells_that_the_device_has_stopped",
];

/// Unit tests that memcheck leaves to AddressSanitizer: the shim on Linux looks at the vDSO for the
/// size of a page, which valgrind hides; what polls an NVMe controller as Linux does is slow.
const LEFT_OUT: [&str; 2] = ["linux::", "sim::tests::linux_nvme"];

/// How many cases the property tests try, a fraction of what they try otherwise.
const CASES: &str = "8";

/// Runs both alone.
pub(crate) fn run_alone() -> Result<ExitCode> {
    let mut steps = Steps::default();
    self::steps(&mut steps);
    Ok(steps.finish())
}

/// Runs the tests under each checker.
pub(crate) fn steps(steps: &mut Steps) {
    // Valgrind runs one thread at a time, and leaves a processor to the builds of the others.
    let all = [
        ("soundness: memcheck", memcheck as fn() -> Result<()>),
        ("soundness: AddressSanitizer", sanitizer),
        ("soundness: ThreadSanitizer", races),
        ("soundness: what must not compile", refused),
    ];
    steps.run_side_by_side(all.map(|(name, check)| (name.into(), check)).into());
}

fn memcheck() -> Result<()> {
    require("valgrind", "valgrind")?;
    for test in built()? {
        let mut command = Command::new("valgrind");
        command.args(MEMCHECK).arg(&test.executable);
        command.env("PROPTEST_CASES", CASES);
        if let Some(package) = test.manifest_path.parent() {
            command.current_dir(package);
        }
        let skip = [&LEFT_OUT[..], &KEEPING].concat();
        run(command.args(skip.iter().flat_map(|word| ["--skip", word])))?;
    }
    Ok(())
}

/// A message of cargo's about what it has built (the Cargo Book, "External tools").
#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: Target,
    executable: PathBuf,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Returns the tests that memcheck runs, as the step that runs all tests has built them.
fn built() -> Result<Vec<Artifact>> {
    let mut build = cargo();
    build.args(["test", "--workspace", "--features", FEATURES]);
    build.args(["--no-run", "--message-format", "json"]);
    let messages = read(&mut build)?;
    let artifacts = messages.lines().map(serde_json::from_str::<Artifact>);
    // What is no test has no executable.
    let tests: Vec<_> = artifacts.flatten().filter(Artifact::is_checked).collect();
    for name in PACKAGES
        .map(|name| name.replace('-', "_"))
        .iter()
        .map(|name| &**name)
        .chain(QUICK)
    {
        let is_there = tests.iter().any(|test| test.target.name == name);
        ensure!(is_there, "there is no test {name}");
    }
    Ok(tests)
}

impl Artifact {
    /// Tells whether it is a package's unit tests, or one of the integration tests that are quick.
    fn is_checked(&self) -> bool {
        let kind = self.target.kind.as_slice();
        let is_unit = kind == ["lib"] && PACKAGES.contains(&&*self.target.name.replace('_', "-"));
        let is_quick = kind == ["test"] && QUICK.contains(&&*self.target.name);
        is_unit || is_quick
    }
}

fn sanitizer() -> Result<()> {
    run(skipping(&mut sanitized()?, &KEEPING))?;
    let mut keeping = sanitized()?;
    keeping.env("ASAN_OPTIONS", "detect_leaks=0");
    run(keeping.arg("--").args(KEEPING))
}

/// Returns a command that runs tests under AddressSanitizer.
fn sanitized() -> Result<Command> {
    // With a target named, build scripts and macros are left alone.
    let mut tests = tests(&[&QUICK[..], &SLOW].concat());
    tests
        .args(["--target", &host()?])
        .env("CARGO_TARGET_DIR", paths::target().join("sanitizer"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=address");
    Ok(tests)
}

/// What ThreadSanitizer ends a program with in which it found a race.
const RACE: i32 = 66;

/// Looks for races in memory of a device that several threads reach. A race that is there must be
/// found.
fn races() -> Result<()> {
    let host = host()?;
    let target = paths::target().join("thread-sanitizer");
    // What is not optimized calls generic functions of the standard library, as they are there.
    run(cargo()
        .args([
            "build",
            "--package",
            "vfio-conformance",
            "--example",
            "races",
        ])
        .args(["--target", &host])
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "2")
        .env("RUSTC_BOOTSTRAP", "1")
        .env(
            "RUSTFLAGS",
            "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer",
        ))?;
    let program = target.join(host).join("debug/examples/races");
    run(Command::new(&program).arg("shared"))?;
    let found = Command::new(&program).arg("volatile").output()?;
    ensure!(
        found.status.code() == Some(RACE),
        "the sanitizer finds no race where there is one:\n{}",
        String::from_utf8_lossy(&found.stderr)
    );
    println!("none in shared memory, and the one that is made is found");
    Ok(())
}

/// Checks that the doc tests that must not compile fail with the errors that they name. A stable
/// compiler looks only at whether they fail.
fn refused() -> Result<()> {
    run(cargo()
        .args(["test", "--doc", "--package", "vfio-core", "ownership"])
        .env("CARGO_TARGET_DIR", paths::target().join("sanitizer"))
        .env("RUSTC_BOOTSTRAP", "1"))
}

/// Returns a command that runs the unit tests, and some integration tests.
fn tests(integration: &[&str]) -> Command {
    let mut command = cargo();
    command.args(["test", "--lib"]).env("PROPTEST_CASES", CASES);
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    for test in integration {
        command.args(["--test", test]);
    }
    command
}

/// Has tests left out whose names have one of these words in them.
fn skipping<'a>(tests: &'a mut Command, words: &[&str]) -> &'a mut Command {
    let skip = words.iter().flat_map(|word| ["--skip", word]);
    tests.arg("--").args(skip)
}

/// Returns the triple of this machine.
fn host() -> Result<String> {
    let triple = read(Command::new("rustc").args(["--print", "host-tuple"]))?;
    Ok(triple.trim().into())
}
