//! The benches: what opening a device, reaching its registers, allocating IOVAs and parsing replies takes, against others and against the targets.
//!
//! What is exact (instructions, calls, allocations, bytes) must meet its target. Times are for orientation.

mod callgrind;
mod copies;
mod guest;
mod iova;
mod nvme;
mod registers;
mod unikernel;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;
use comfy_table::{Table, presets};
use serde_json::{Value, json};

use crate::paths;
use crate::proofs;
use crate::tools::{cargo, read, require, run};

/// The ways to open a device, in the order of the table.
const WAYS: [(&str, &str); 3] = [
    ("core", "vfio-core"),
    ("floor", "written by hand"),
    ("vfio_ioctls", "vfio-ioctls 0.10"),
];

/// The lengths of sparse chains whose instructions are counted.
const CHAINS: [u64; 4] = [1, 10, 1_000, 4_000];

/// What takes the kernel's place, and is left out of every count.
const KERNEL: &str = "ioctl";

/// Opening a device with ten regions and five interrupts: one call for the device and one for each.
const IOCTLS: u64 = 16;

/// How many instructions opening a device may take.
const MAX_INSTRUCTIONS: u64 = 2_000;

/// How many bytes of stack a question may take, the buffer aside.
const MAX_STACK: u64 = 512;

/// A figure that has a target.
struct Goal {
    name: String,
    value: u64,
    most: u64,
}

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Leave out what is measured in a guest.
    #[arg(long)]
    without_guest: bool,
    /// Measure nothing but NVMe, and write no `bench.json`.
    #[arg(long, conflicts_with = "without_guest")]
    only_nvme: bool,
}

/// Runs the benches, prints them, and writes them to `bench.json` in the target directory.
///
/// # Errors
///
/// A bench can't be built or run.
pub(crate) fn run_all(options: &Options) -> Result<ExitCode> {
    if options.only_nvme {
        return only_nvme();
    }
    require("valgrind", "valgrind")?;
    let program = build()?;
    let native: Value = serde_json::from_str(&read(Command::new(&program).arg("measure"))?)
        .context("cannot read the measurements")?;

    let mut goals = Vec::new();
    let opening = opening(&program, &native, &mut goals)?;
    let registers = registers::measure(&program, &native, &mut goals)?;
    let copies = copies::print(&native);
    let iova = iova::measure(&program, &native, &mut goals)?;
    let chains = chains(&program, &native, &mut goals)?;
    let stack = stack(&native, &mut goals);
    let images = unikernel::measure(&mut goals)?;
    let code = proofs::parsing_half()?;
    goals.push(goal(
        "code of the parsing half, bytes",
        code,
        proofs::MAX_PARSING_HALF,
    ));
    let guest = if options.without_guest {
        Ok((Vec::new(), Vec::new()))
    } else {
        guest::measure(&mut goals)
    };
    let guests = guest.as_ref().map_or(&[][..], |(_, guests)| guests);
    nvme::in_guests(guests, &mut goals)?;
    let reads = nvme::in_image(&mut goals)?;
    print_goals(&goals);

    let goals_json: Vec<Value> = goals
        .iter()
        .map(|goal| json!({"name": goal.name, "value": goal.value, "most": goal.most}))
        .collect();
    let report = json!({
        "opening": opening,
        "registers": registers,
        "copies": copies,
        "iova": iova,
        "guest": guest.as_ref().ok().map(|(rows, _)| rows),
        "sparse": chains,
        "stack": stack,
        "code": code,
        "images": images,
        "reads": reads,
        "targets": goals_json,
    });
    let path = paths::target().join("bench.json");
    fs::write(&path, serde_json::to_vec_pretty(&report)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("\nwritten to {}", path.display());

    // What was measured before stands, and the targets of the guest are missed.
    guest?;
    Ok(verdict(&goals))
}

/// Measures NVMe alone.
fn only_nvme() -> Result<ExitCode> {
    let mut goals = Vec::new();
    let guests = crate::guest::measure(&["nvme"])?;
    nvme::in_guests(&guests, &mut goals)?;
    nvme::in_image(&mut goals)?;
    print_goals(&goals);
    Ok(verdict(&goals))
}

/// Tells whether every goal is met.
fn verdict(goals: &[Goal]) -> ExitCode {
    let missed = goals.iter().filter(|goal| goal.value > goal.most).count();
    println!("{} targets met, {missed} missed", goals.len() - missed);
    if missed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn build() -> Result<PathBuf> {
    run(cargo().args(["build", "--release", "--package", "vfio-bench"]))?;
    Ok(paths::target().join("release/vfio-bench"))
}

/// Returns opening a device, each way.
fn opening(program: &Path, native: &Value, goals: &mut Vec<Goal>) -> Result<Vec<Value>> {
    println!(
        "\nOpening a device with {} regions and {} interrupts",
        10, 5
    );
    let mut table = new_table([
        "",
        "instructions",
        "the first time",
        "ns",
        "ioctls",
        "allocations",
        "bytes allocated",
    ]);
    let mut rows = Vec::new();
    for (name, title) in WAYS {
        let of_name = |row: &&Value| row["name"] == name;
        let mut row = list(native, "opening")
            .iter()
            .find(of_name)
            .with_context(|| format!("{name} was not measured"))?
            .clone();
        let function = format!("measured_{name}");
        let instructions = count(program, &["again", name], &function)?;
        let first = count(program, &["once", name], &function)?;
        row["instructions"] = instructions.into();
        row["instructions_first"] = first.into();
        table.add_row([
            title.to_owned(),
            instructions.to_string(),
            first.to_string(),
            nanoseconds(&row["nanoseconds"]),
            row["ioctls"].to_string(),
            row["allocations"].to_string(),
            row["allocated"].to_string(),
        ]);
        if name == "core" {
            goals.push(goal(
                "opening a device, instructions",
                instructions.max(first),
                MAX_INSTRUCTIONS,
            ));
            goals.push(goal(
                "opening a device, ioctls",
                number(&row["ioctls"]),
                IOCTLS,
            ));
            goals.push(goal(
                "opening a device, allocations",
                number(&row["allocations"]),
                0,
            ));
        }
        rows.push(row);
    }
    println!(
        "{table}\nInstructions are all from the entry to the return, libc's and the allocator's included, but for the \
         {KERNEL} that takes the\nkernel's place: after the device was opened and closed before, and for the first time in \
         the process. ns are with {KERNEL}."
    );
    Ok(rows)
}

/// Returns sparse chains of growing length.
fn chains(program: &Path, native: &Value, goals: &mut Vec<Goal>) -> Result<Vec<Value>> {
    println!("\nChecking a region with sparse areas in order");
    let mut table = new_table([
        "areas",
        "instructions",
        "per area",
        "ns",
        "ns to copy it",
        "one by one",
    ]);
    let mut rows = Vec::new();
    let mut counts = Vec::new();
    for areas in CHAINS {
        let of_length = |row: &&Value| row["areas"] == areas;
        let mut row = list(native, "sparse")
            .iter()
            .find(of_length)
            .with_context(|| format!("{areas} areas were not measured"))?
            .clone();
        let argument = areas.to_string();
        let instructions = count(program, &["once", "sparse", &argument], "measured_sparse")?;
        row["instructions"] = instructions.into();
        let each = instructions as f64 / areas as f64;
        table.add_row([
            argument,
            instructions.to_string(),
            format!("{each:.1}"),
            nanoseconds(&row["decode"]),
            nanoseconds(&row["copy"]),
            nanoseconds(&row["elements"]),
        ]);
        counts.push((areas, instructions));
        rows.push(row);
    }
    println!(
        "{table}\nTo copy it is memcpy of the reply, or of its areas one by one as typed values."
    );
    if let [.., (fewer, less), (more, most)] = counts.as_slice() {
        // What the areas between the two lengths take, for as many as in the shorter: not more than these took.
        let marginal = (most - less) * fewer / (more - fewer);
        goals.push(goal(
            "1,000 more sparse areas, instructions",
            marginal,
            *less,
        ));
    }
    Ok(rows)
}

/// Returns the stack that each question takes.
fn stack(native: &Value, goals: &mut Vec<Goal>) -> Vec<Value> {
    println!("\nPeak stack of a question and its answer, the buffer aside");
    let mut table = new_table(["question", "bytes"]);
    let rows = list(native, "stack").to_vec();
    for row in &rows {
        let name = row["name"].as_str().unwrap_or_default();
        table.add_row([name.to_owned(), row["bytes"].to_string()]);
        goals.push(goal(
            &format!("stack, {name}, bytes"),
            number(&row["bytes"]),
            MAX_STACK,
        ));
    }
    println!("{table}");
    rows
}

fn print_goals(goals: &[Goal]) {
    println!("\nTargets");
    let mut table = new_table(["", "is", "at most", ""]);
    for goal in goals {
        let verdict = if goal.value <= goal.most {
            "met"
        } else {
            "missed"
        };
        table.add_row([
            goal.name.clone(),
            goal.value.to_string(),
            goal.most.to_string(),
            verdict.to_owned(),
        ]);
    }
    println!("{table}");
}

fn count(program: &Path, arguments: &[&str], function: &str) -> Result<u64> {
    let scratch = paths::target().join("callgrind.out");
    callgrind::count(program, arguments, function, KERNEL, &scratch)
}

fn new_table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(header);
    table
}

fn goal(name: &str, value: u64, most: u64) -> Goal {
    Goal {
        name: name.into(),
        value,
        most,
    }
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// Returns a number that must be there: `u64::MAX` is too much for every target.
fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(u64::MAX)
}

fn nanoseconds(value: &Value) -> String {
    format!("{:.0}", value.as_f64().unwrap_or(f64::NAN))
}
