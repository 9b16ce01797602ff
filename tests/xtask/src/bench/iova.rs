//! Allocating and freeing IOVAs for many buffers, in each order.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Goal, count, goal, list, nanoseconds, new_table};

/// What is done: its name, what it is, and the function that does it.
const DONE: [(&str, &str, &str); 6] = [
    ("fill", "allocate all", "fill"),
    ("fifo", "free all, the first first", "free"),
    ("lifo", "free all, the last first", "free"),
    ("random", "free all, in no order", "free"),
    ("refill", "allocate, every other page is free", "fill"),
    ("churn", "free one and allocate one, half are free", "churn"),
];

/// The numbers of buffers whose instructions are counted.
const BUFFERS: [u64; 3] = [1_000, 10_000, 65_000];

/// The allocator's capacity: no operation may take more instructions for each range that it can hold than one.
const CAPACITY: u64 = 65_536;

/// Measures everything, and prints it.
///
/// # Errors
///
/// Something can't be run.
pub(super) fn measure(program: &Path, native: &Value, goals: &mut Vec<Goal>) -> Result<Vec<Value>> {
    println!("\nIOVAs for many buffers of 4 KiB, from an allocator of {CAPACITY} free ranges");
    let mut table = new_table([
        "instructions and ns for each",
        "of 1,000",
        "of 10,000",
        "of 65,000",
    ]);
    let mut rows = Vec::new();
    for (name, title, function) in DONE {
        let function = format!("measured_iova_{function}");
        let mut cells = vec![title.to_owned()];
        let mut counts = Vec::new();
        for buffers in BUFFERS {
            let of_both = |row: &&Value| row["name"] == name && row["buffers"] == buffers;
            let mut row = list(native, "iova")
                .iter()
                .find(of_both)
                .with_context(|| format!("{name} of {buffers} was not measured"))?
                .clone();
            let argument = buffers.to_string();
            let arguments = ["once", "iova", name, argument.as_str()];
            let done = row["done"].as_u64().filter(|done| *done > 0).unwrap_or(1);
            let each = count(program, &arguments, &function)?.div_ceil(done);
            row["instructions"] = each.into();
            cells.push(format!("{each}, {}", nanoseconds(&row["nanoseconds"])));
            counts.push(each);
            rows.push(row);
        }
        table.add_row(cells);
        let (Some(&few), Some(&many)) = (counts.first(), counts.last()) else {
            continue;
        };
        let (against, most) = match name {
            "fill" | "fifo" | "lifo" => ("of 1,000", few),
            _ => ("of the capacity", CAPACITY),
        };
        goals.push(goal(
            &format!("IOVAs, {title}, instructions, of 65,000 against {against}"),
            many,
            most,
        ));
    }
    println!("{table}");
    Ok(rows)
}
