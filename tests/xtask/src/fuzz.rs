//! Coverage-guided fuzzing: the targets in tests/fuzz under libFuzzer, from the captured replies.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};
use comfy_table::{Table, presets};
use vfio_core::wire::vfio_user::{Command as Message, DmaMap, RegionAccess, Version};

use crate::paths;
use crate::side_by_side::side_by_side;
use crate::steps::Steps;
use crate::tools::{cargo, read, require, run as run_command, shown};

/// What to fuzz, and for how long.
#[derive(Args)]
pub(crate) struct Options {
    /// Minutes for each target.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        conflicts_with = "seconds"
    )]
    minutes: u64,
    /// Seconds for each target, in place of minutes.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// A target; all when none is given.
    #[arg(long = "target", value_name = "NAME")]
    targets: Vec<Target>,
    /// Runs one target once, with this input: what a crash left, for one.
    #[arg(long, value_name = "FILE", requires = "targets")]
    input: Option<PathBuf>,
}

/// A program of tests/fuzz.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    /// Any bytes as each of the five replies.
    Reader,
    /// Questions to a kernel whose replies change between calls.
    Query,
    /// Any bytes as the report describes them, and its JSON.
    Decode,
    /// Any bytes as a config space, and a device whose config space changes between reads.
    Config,
    /// Any device: what the answering side says of it is what the reader finds.
    Roundtrip,
    /// Any stream as messages of vfio-user, in pieces of any length.
    Messages,
}

/// How long each target runs in [`crate::test`].
const SHORT: Duration = Duration::from_secs(15);

/// Seconds after which an input counts as hung.
const INPUT_TIMEOUT: u32 = 10;

/// MiB of memory that a target may take before it has failed.
const MEMORY: u32 = 1024;

/// The longest input in bytes: twice the longest captured reply.
const LONGEST: u32 = 8192;

/// How many lines of a failed run are shown.
const LAST_LINES: usize = 12;

/// The flags that make LLVM count edges and record comparisons for libFuzzer. They work on stable
/// Rust; sanitizers do not, and memory safety is not what is looked for in safe code.
const FLAGS: [&str; 8] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cforce-frame-pointers=yes",
];

/// Builds the targets and runs those that are asked for.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let programs = build()?;
    let targets = match &options.targets[..] {
        [] => Target::value_variants().to_vec(),
        some => some.to_vec(),
    };
    if let Some(input) = &options.input {
        let [target] = targets[..] else {
            bail!("one input is for one target");
        };
        run_command(target.command(&programs).arg(input))?;
        return Ok(ExitCode::SUCCESS);
    }
    let minutes = Duration::from_secs(options.minutes.saturating_mul(60));
    let time = options.seconds.map_or(minutes, Duration::from_secs);
    fuzz(&programs, &targets, time)?;
    Ok(ExitCode::SUCCESS)
}

/// Checks the targets' own code, and runs each for a short time.
pub(crate) fn steps(steps: &mut Steps) {
    steps.run("fuzz: format and lints", || {
        require("c++", "g++")?;
        run_command(in_workspace().args(["fmt", "--check"]))?;
        run_command(in_workspace().args(["clippy", "--all-targets", "--", "-D", "warnings"]))
    });
    steps.run("fuzz", || {
        let programs = build()?;
        fuzz(&programs, Target::value_variants(), SHORT)
    });
}

/// Returns cargo in the targets' workspace.
fn in_workspace() -> Command {
    let mut command = cargo();
    command
        .current_dir(paths::root().join("tests/fuzz"))
        .env("CARGO_TARGET_DIR", paths::fuzz());
    command
}

/// Builds all targets and returns where they are. libFuzzer itself is C++.
fn build() -> Result<PathBuf> {
    require("c++", "g++")?;
    let host = read(Command::new("rustc").args(["--print", "host-tuple"]))?;
    run_command(
        in_workspace()
            // A platform that is named keeps the flags from build scripts and macros.
            .args(["build", "--release", "--target", host.trim()])
            .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}")),
    )?;
    Ok(paths::fuzz().join(host.trim()).join("release"))
}

/// Runs the targets for `time` each and prints what they did.
///
/// # Errors
///
/// A target found something, or can't run.
fn fuzz(programs: &Path, targets: &[Target], time: Duration) -> Result<()> {
    let seeds = seeds()?;
    let ended = side_by_side(targets.to_vec(), |target| {
        (target, target.fuzz(programs, &seeds, time))
    });

    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header([
        "target",
        "executions",
        "per second",
        "edges",
        "of",
        "corpus",
    ]);
    let mut found = Vec::new();
    for (target, outcome) in ended {
        let Summary {
            executions,
            per_second,
            edges,
            all_edges,
            corpus,
            failure,
        } = outcome?;
        table.add_row([
            target.to_string(),
            executions,
            per_second,
            edges,
            all_edges,
            corpus,
        ]);
        if let Some(failure) = failure {
            eprintln!("{failure}");
            found.push(target.to_string());
        }
    }
    println!("{table}");
    ensure!(found.is_empty(), "found by {}", found.join(", "));
    Ok(())
}

/// What libFuzzer said of a run.
struct Summary {
    executions: String,
    per_second: String,
    edges: String,
    all_edges: String,
    corpus: String,
    /// What it found, how, and how to see it again.
    failure: Option<String>,
}

impl Target {
    /// Returns the target's program.
    fn command(self, programs: &Path) -> Command {
        Command::new(programs.join(self.to_string()))
    }

    /// Runs the target for `time`, from `replies` and from what earlier runs have kept.
    fn fuzz(self, programs: &Path, replies: &[Vec<u8>], time: Duration) -> Result<Summary> {
        let name = self.to_string();
        let seeds = paths::fuzz().join("seeds").join(&name);
        let corpus = paths::fuzz().join("corpus").join(&name);
        let artifacts = paths::fuzz().join("artifacts").join(&name);
        for directory in [&seeds, &corpus, &artifacts] {
            create(directory)?;
        }
        for (n, seed) in self.seeds(replies).iter().enumerate() {
            let path = seeds.join(format!("{n:05}"));
            fs::write(&path, seed).with_context(|| format!("cannot write {}", path.display()))?;
        }

        let mut command = self.command(programs);
        command
            .arg(format!("-max_total_time={}", time.as_secs()))
            .arg(format!("-timeout={INPUT_TIMEOUT}"))
            .arg(format!("-rss_limit_mb={MEMORY}"))
            .arg(format!("-max_len={LONGEST}"))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .arg("-print_final_stats=1")
            // The way from libFuzzer to a panic is always the same.
            .env("RUST_BACKTRACE", "0")
            // What is new goes to the first directory.
            .args([&corpus, &seeds]);
        let output = command
            .output()
            .with_context(|| format!("cannot start {}", shown(&command)))?;
        let log = String::from_utf8_lossy(&output.stderr);
        let mut summary = Summary::read(&log);
        if !output.status.success() {
            summary.failure = Some(self.failure(&log, &artifacts));
        }
        Ok(summary)
    }

    /// Returns the inputs to start from.
    fn seeds(self, replies: &[Vec<u8>]) -> Vec<Vec<u8>> {
        match self {
            Self::Reader | Self::Decode => replies.to_vec(),
            Self::Query => {
                let each = replies.iter().flat_map(|reply| scripts(reply));
                each.chain(growing()).collect()
            }
            Self::Config => spaces().collect(),
            Self::Messages => messages().collect(),
            // Its input is no reply, but what a device is made from.
            Self::Roundtrip => Vec::new(),
        }
    }

    /// Tells how a run ended, and how to see it again.
    fn failure(self, log: &str, artifacts: &Path) -> String {
        // What a panic says stands before libFuzzer's own report, of which the last line says
        // enough, and among its lines of progress.
        let said: Vec<&str> = log
            .lines()
            .take_while(|line| !line.starts_with("=="))
            .filter(|line| {
                !["#", "\t", "INFO: "]
                    .iter()
                    .any(|start| line.starts_with(start))
            })
            .collect();
        let start = said.len().saturating_sub(LAST_LINES);
        let mut lines = said.get(start..).unwrap_or_default().to_vec();
        lines.extend(log.lines().find(|line| line.starts_with("SUMMARY: ")));
        let text = lines.join("\n");
        let written = log
            .lines()
            .find_map(|line| line.split_once("Test unit written to "));
        match written {
            Some((_, artifact)) => format!(
                "{text}\n{self}: the input is kept in {artifact}; to see it again, run\n    \
                 cargo xtask fuzz --target {self} --input {artifact}"
            ),
            None => format!(
                "{text}\n{self}: no input was kept in {}",
                artifacts.display()
            ),
        }
    }
}

impl Summary {
    fn read(log: &str) -> Self {
        let stat = |name: &str| {
            let line = log.lines().rfind(|line| line.starts_with(name))?;
            line.rsplit_once(' ').map(|(_, value)| value.to_owned())
        };
        let progress = log.lines().rfind(|line| line.contains(" cov: "));
        let field = |name: &str| {
            let mut words = progress?.split_whitespace();
            words.find(|word| *word == name)?;
            let value = words.next()?;
            // The corpus is given as inputs/bytes.
            value.split('/').next().map(str::to_owned)
        };
        let all_edges = log.lines().find_map(|line| {
            let (_, counted) = line.split_once("PC tables (")?;
            counted.split_once(' ').map(|(count, _)| count.to_owned())
        });
        let known = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        Self {
            executions: known(stat("stat::number_of_executed_units:")),
            per_second: known(stat("stat::average_exec_per_sec:")),
            edges: known(field("cov:")),
            all_edges: known(all_edges),
            corpus: known(field("corp:")),
            failure: None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// Returns the captured replies, each of them once.
///
/// # Errors
///
/// There are none, or they can't be read.
fn seeds() -> Result<Vec<Vec<u8>>> {
    let fixtures = paths::root().join("tests/conformance/fixtures");
    let mut replies = Vec::new();
    collect(&fixtures, &mut replies)?;
    replies.sort_unstable();
    replies.dedup();
    ensure!(
        !replies.is_empty(),
        "no captured replies in {}",
        fixtures.display()
    );
    Ok(replies)
}

/// Reads the replies in a directory and below it.
fn collect(directory: &Path, replies: &mut Vec<Vec<u8>>) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, replies)?;
        } else if path.extension().is_some_and(|extension| extension == "bin") {
            let reply =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            replies.push(reply);
        }
    }
    Ok(())
}

/// Streams of the commands and replies that a session begins with, behind a byte that says how they are cut.
fn messages() -> impl Iterator<Item = Vec<u8>> {
    let access = RegionAccess {
        offset: 8,
        region: 0,
        count: 4,
    };
    let map = DmaMap {
        argsz: 32,
        size: 4096,
        ..DmaMap::default()
    };
    let commands = [
        Message::Version(Version::default()),
        Message::DmaMap(map),
        Message::RegionRead(access),
        Message::RegionWrite {
            access,
            data: b"data",
        },
        Message::Reset,
    ];
    let mut streams = vec![];
    let mut stream = vec![];
    for command in commands {
        let mut out = [0; 256];
        let len = command.emit(&mut out, 1).unwrap_or(0);
        stream.extend(out.iter().take(len));
        streams.push(stream.clone());
    }
    [1_u8, 7, 64].into_iter().flat_map(move |step| {
        streams
            .clone()
            .into_iter()
            .map(move |stream| [vec![step], stream].concat())
    })
}

/// Returns config spaces of an endpoint with every capability that has a type, in both lists: as they are, and as a
/// device's that changes between reads. What stands before them, the target `config` says.
fn spaces() -> impl Iterator<Item = Vec<u8>> {
    let mut space = vec![0; 4096];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = space.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(0, &[0x36, 0x1b, 0x10, 0, 6, 0, 0x10]);
    put(0x10, &[4, 0, 0, 0xfe, 1, 0, 0, 0, 1, 0xc0]);
    put(0x34, &[0x40]);
    // Power management, MSI, MSI-X, PCI Express, vendor specific, advanced features.
    let standard = [(1, 8), (5, 24), (0x11, 12), (0x10, 60), (9, 12), (0x13, 8)];
    let mut at = 0x40;
    for (id, len) in standard {
        put(at, &[id, u8::try_from(at + len).unwrap_or(0), 2, 0]);
        at += len;
    }
    // What ends the list, and is of no type.
    put(at, &[0xff, 0]);
    // AER, serial number, ACS, ARI, ATS, SR-IOV, PASID, vendor specific, designated vendor specific.
    let extended = [1_u32, 3, 0xd, 0xe, 0xf, 0x10, 0x1b, 0xb, 0x23];
    for (n, id) in (1_u32..).zip(extended) {
        let next = if id == 0x23 { 0 } else { 0x100 + 0x80 * n };
        let header = id | 1 << 16 | next << 20;
        let at = 0x80 + 0x80 * n as usize;
        put(
            at,
            &[header.to_le_bytes(), 0x00c0_0001_u32.to_le_bytes()].concat(),
        );
    }
    let still = [[2].as_slice(), &space].concat();
    let changing = [[4 | 1 << 3].as_slice(), &[0; 8], &space, &space].concat();
    [still, changing].into_iter()
}

/// How many questions the target `query` tells apart.
const QUESTIONS: u8 = 7;

/// Returns a reply as the answer to each of the questions that the target `query` asks, from a
/// growing buffer. The target's `Script` says what the 16 bytes before it mean.
fn scripts(reply: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..QUESTIONS).map(|question| script(question, &[reply.to_vec()]))
}

/// Replies that need more at every call.
fn growing() -> impl Iterator<Item = Vec<u8>> {
    const CALLS: u32 = 4;
    (0..QUESTIONS).map(|question| {
        let replies = (0..CALLS).map(|call| {
            let mut reply = (128_u32 << call).to_ne_bytes().to_vec();
            reply.resize(32, 0);
            reply
        });
        script(question, &replies.collect::<Vec<_>>())
    })
}

/// Returns a script of replies of equal length.
fn script(question: u8, replies: &[Vec<u8>]) -> Vec<u8> {
    let [small, large] = [64_u16, 4096].map(u16::to_le_bytes);
    let more = u8::try_from(replies.len().saturating_sub(1)).unwrap_or(u8::MAX);
    let mut script = vec![question, 1];
    script.extend([small, large].concat());
    // With the index that was asked for, and every call ends well.
    script.extend([more, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    script.extend(replies.concat());
    script
}

fn create(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))
}
