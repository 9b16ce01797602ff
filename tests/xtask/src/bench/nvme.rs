//! Random reads of 4 KiB from an NVMe controller: the instructions that one takes in a guest and in an image without an
//! operating system, and how many a second there are against the kernel's own driver.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use vfio_guest::Outcome;

use super::guest::of_bench;
use super::{Goal, goal, new_table};
use crate::guest::Measured;
use crate::guest::qemu::Qemu;
use crate::unikernel::{Image, Machine, Model};

/// Depths, with the instructions that a read may take, and how many times the kernel's reads a second there should be.
const DEPTHS: [(u32, u64, f64); 2] = [(1, 150, 4.0), (32, 110, 8.0)];

/// How long the image may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Prints what was measured in guests.
///
/// # Errors
///
/// A bench reports no figures.
pub(super) fn in_guests(guests: &[Measured], goals: &mut Vec<Goal>) -> Result<()> {
    println!(
        "\nInstructions of a random read of 4 KiB by NVMe, from giving it to the device to taking its completion"
    );
    let mut table = new_table(["", "depth 1", "depth 32"]);
    for (mode, figures) in of_bench("nvme instructions", guests)? {
        let mut row = vec![mode.clone()];
        for (depth, most, _) in DEPTHS {
            let count = figures.count(&format!("depth {depth}, instructions"));
            row.push(count.to_string());
            let name = format!("random read at depth {depth}, instructions, {mode}");
            goals.push(goal(&name, count, most));
        }
        table.add_row(row);
    }
    println!("{table}");
    against_kernel(guests)
}

/// Prints reads a second. Times never decide: their targets are said here alone.
fn against_kernel(guests: &[Measured]) -> Result<()> {
    println!(
        "\nRandom reads of 4 KiB a second by NVMe, the kernel's driver by fio with io_uring, on the same device in turn: \
         medians,\nalso of the ratios, which are those of turns next to each other"
    );
    let mut table = new_table(["", "fio, tuned", "fio", "this driver", "of fio's", "target"]);
    let measured = of_bench("nvme", guests)?;
    for (depth, _, least) in DEPTHS {
        let mut row = vec![format!("depth {depth}")];
        match measured.first() {
            Some((_, figures)) => {
                let of = |name: &str| figures.value(&format!("depth {depth}, {name}"));
                let ratio = of("ratio");
                row.push(format!("{:.0}", of("IOPS by the kernel, tuned")));
                row.push(format!("{:.0}", of("IOPS by the kernel")));
                row.push(format!("{:.0}", of("IOPS")));
                row.push(format!("{ratio:.1}"));
                let verdict = if ratio >= least { "met" } else { "missed" };
                row.push(format!("{least:.1}, {verdict}"));
            }
            None => {
                row.extend(["-", "-", "-", "-"].map(str::to_owned));
                row.push(format!("{least:.1}, not run"));
            }
        }
        table.add_row(row);
    }
    println!("{table}");
    for (case, outcome, detail) in guests.iter().flat_map(|guest| &guest.cases) {
        if *outcome == Outcome::NotRun && case.check.starts_with("nvme") {
            println!("not run: {case}, because {detail}");
        }
    }
    Ok(())
}

/// Counts the same in the image, which may take as many.
///
/// # Errors
///
/// The image can't be built or run.
pub(super) fn in_image(goals: &mut Vec<Goal>) -> Result<Value> {
    println!("\nThe same by the image nvme");
    let options = [
        // An instruction is a tick of the time stamp counter.
        "-icount",
        "shift=0",
        "-blockdev",
        "null-co,node-name=disk,size=1073741824,read-zeroes=off",
    ];
    let device = "nvme,serial=bench,drive=disk,logical_block_size=4096,physical_block_size=4096";
    let machine = Machine {
        options: options.map(str::to_owned).into(),
        ..Machine::new(Model::Q35, &[device])
    };
    let boot = machine.boot(&Qemu::installed()?, &Image::build("nvme")?, LIMIT)?;
    boot.succeeded()?;
    let mut counts = Vec::new();
    for (depth, most, _) in DEPTHS {
        let begin = format!("random reads at depth {depth}: ");
        let count = boot.lines.iter().find_map(|line| {
            let (_, rest) = line.text.strip_prefix(&begin)?.split_once(", ")?;
            rest.split(' ').next()?.parse::<u64>().ok()
        });
        let count = count.context("the image counts no reads")?;
        let name = format!("random read at depth {depth}, instructions, image nvme");
        goals.push(goal(&name, count, most));
        counts.push(json!({"depth": depth, "instructions": count}));
    }
    Ok(counts.into())
}
