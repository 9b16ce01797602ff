//! What is measured in a guest: system calls, registers, interrupts, and DMA for many buffers, in each mode; and reads by NVMe.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use vfio_guest::Outcome;

use super::{Goal, goal, new_table};
use crate::guest::{self, Measured};

/// The devices that are measured.
const MEASURED: [&str; 2] = ["edu", "nvme"];

/// How many system calls may be made from nothing to a mapped BAR 0. Two for each file tell that it is VFIO's (fstat and
/// readlink; `/dev/vfio/vfio` is known by its number): a request on another one would not be safe.
const MAX_CALLS: u64 = 19;

/// The figures of one mode.
#[derive(Default)]
pub(super) struct Figures(BTreeMap<String, f64>);

/// A bench, and the figures that its table shows: as they are named, and as they are printed.
struct Shown {
    bench: &'static str,
    title: &'static str,
    figures: &'static [(&'static str, &'static str)],
}

const SHOWN: [Shown; 5] = [
    Shown {
        bench: "calls",
        title: "System calls, as the guest's kernel counts them (ptrace)",
        figures: &[
            ("open", "open, map BAR 0"),
            ("bring up", "and enable it"),
            ("find and open", "and find it first"),
            ("open by pci-driver", "open by pci-driver"),
            ("open by vfio-ioctls", "by vfio-ioctls, unmapped"),
            ("100 mapped reads", "100 mapped reads"),
            ("100 trapped reads", "100 trapped"),
            ("100 maps", "100 maps"),
            ("100 unmaps", "100 unmaps"),
            ("buffer", "a buffer"),
            ("drop buffer", "drop it"),
            ("wait", "wait for an interrupt"),
        ],
    },
    Shown {
        bench: "registers",
        title: "Reading a register, ns",
        figures: &[
            ("mapped read, ns", "mapped"),
            ("trapped read, ns", "trapped"),
            ("mapped read by pci-driver, ns", "mapped, pci-driver"),
            ("trapped read by pci-driver, ns", "trapped, pci-driver"),
            ("trapped read by vfio-ioctls, ns", "trapped, vfio-ioctls"),
        ],
    },
    Shown {
        bench: "interrupts",
        title: "An interrupt's round trip, ns",
        figures: &[
            ("eventfd, ns", "a bare eventfd"),
            ("triggered by software, ns", "triggered by software"),
            ("raised by the device, ns", "raised by the device"),
        ],
    },
    Shown {
        bench: "dma",
        title: "Finding an IOVA for a buffer of 4 KiB, ns for each",
        figures: &[
            ("allocate of 1, ns", "of 1"),
            ("allocate of 1000, ns", "of 1,000"),
            ("allocate of 10000, ns", "of 10,000"),
            ("allocate of 65000, ns", "of 65,000"),
            ("free of 65000, ns", "free, of 65,000"),
        ],
    },
    Shown {
        bench: "dma",
        title: "Mapping a buffer of 4 KiB and unmapping it, microseconds for each",
        figures: &[
            ("map of 1, ns", "map, of 1"),
            ("map of 1000, ns", "of 1,000"),
            ("map of 10000, ns", "of 10,000"),
            ("map of 65000, ns", "of 65,000"),
            ("unmap of 1, ns", "unmap, of 1"),
            ("unmap of 1000, ns", "of 1,000"),
            ("unmap of 10000, ns", "of 10,000"),
            ("unmap of 65000, ns", "of 65,000"),
        ],
    },
];

/// Measures in guests, and prints it.
///
/// # Errors
///
/// A guest can't be booted, or a bench fails in it.
pub(super) fn measure(goals: &mut Vec<Goal>) -> Result<(Vec<Value>, Vec<Measured>)> {
    let guests = guest::measure(&MEASURED)?;
    for shown in &SHOWN {
        print(shown, &guests)?;
    }
    for (mode, figures) in of_bench("calls", &guests)? {
        goals.push(goal(
            &format!("open a device and map BAR 0, system calls, {mode}"),
            figures.count("open"),
            MAX_CALLS,
        ));
        goals.push(goal(
            &format!("the same with finding it in sysfs, system calls, {mode}"),
            figures.count("find and open"),
            MAX_CALLS,
        ));
        goals.push(goal(
            &format!("100 reads of a mapped register, system calls, {mode}"),
            figures.count("100 mapped reads"),
            0,
        ));
        if figures.0.contains_key("100 maps") {
            goals.push(goal(
                &format!("100 DMA maps, system calls, {mode}"),
                figures.count("100 maps"),
                100,
            ));
        }
    }
    let rows = guests.iter().flat_map(|guest| {
        guest.cases.iter().map(|(case, outcome, detail)| {
            let figures: Option<Value> = serde_json::from_str(detail).ok();
            json!({
                "guest": guest.name,
                "bench": case.check,
                "outcome": outcome,
                "figures": figures,
                "reason": figures.is_none().then_some(detail),
            })
        })
    });
    let rows = rows.collect();
    Ok((rows, guests))
}

fn print(shown: &Shown, guests: &[Measured]) -> Result<()> {
    println!("\n{}", shown.title);
    let titles = shown.figures.iter().map(|(_, title)| (*title).to_owned());
    let mut table = new_table([""]);
    table.set_header(std::iter::once(String::new()).chain(titles));
    for (mode, figures) in of_bench(shown.bench, guests)? {
        let cells = shown
            .figures
            .iter()
            .map(|(name, _)| match figures.0.get(*name) {
                None => "-".to_owned(),
                Some(value) if shown.title.contains("microseconds") => {
                    format!("{:.1}", value / 1000.0)
                }
                Some(value) => format!("{value:.0}"),
            });
        table.add_row(std::iter::once(mode).chain(cells));
    }
    println!("{table}");
    for (case, outcome, detail) in guests.iter().flat_map(|guest| &guest.cases) {
        if *outcome == Outcome::NotRun && split(&case.check).0 == shown.bench {
            println!("not run: {case}, because {detail}");
        }
    }
    Ok(())
}

/// Returns the modes in which a bench ran, with its figures.
pub(super) fn of_bench(bench: &str, guests: &[Measured]) -> Result<Vec<(String, Figures)>> {
    let mut found = Vec::new();
    for (case, outcome, detail) in guests.iter().flat_map(|guest| &guest.cases) {
        let (name, mode) = split(&case.check);
        if name == bench && *outcome == Outcome::Passed {
            let figures = serde_json::from_str(detail)
                .with_context(|| format!("{case} has no figures, but {detail}"))?;
            found.push((mode.to_owned(), Figures(figures)));
        }
    }
    Ok(found)
}

/// Returns a bench and its mode.
fn split(check: &str) -> (&str, &str) {
    check.split_once(", ").unwrap_or((check, ""))
}

impl Figures {
    /// Returns a figure. Not a number where it is missing.
    pub(super) fn value(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(f64::NAN)
    }

    /// Returns a count. What is missing is too much for every target.
    pub(super) fn count(&self, name: &str) -> u64 {
        // Counts are whole and small.
        self.0.get(name).map_or(u64::MAX, |count| *count as u64)
    }
}
