//! Allocating and freeing IOVAs for many buffers, in each order.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Goal, count, goal, list, nanoseconds, new_table};

/// What is done: its name, what it is, the function that does it, and how many instructions it may take for each of
/// 65,000 buffers.
const DONE: [(&str, &str, &str, u64); 9] = [
    ("fill", "allocate all", "fill", 500),
    ("fifo", "free all, the first first", "free", 500),
    ("lifo", "free all, the last first", "free", 500),
    ("other", "free all, every other one first", "free", 500),
    ("random", "free all, in no order", "free", 500),
    ("refill", "allocate, every other page is free", "fill", 500),
    (
        "reserve",
        "allocate where told, every other page is free",
        "reserve",
        500,
    ),
    // The worst that there is: no free page is aligned.
    (
        "aligned",
        "allocate to two pages, every other page is free",
        "aligned",
        1_000,
    ),
    // Free pages lie by themselves and in groups of any size: what is known of them changes most.
    (
        "churn",
        "free one or allocate one, half are free",
        "churn",
        600,
    ),
];

/// The numbers of buffers whose instructions are counted.
const BUFFERS: [u64; 3] = [1_000, 10_000, 65_000];

/// Measures everything, and prints it.
///
/// # Errors
///
/// Something can't be run.
pub(super) fn measure(program: &Path, native: &Value, goals: &mut Vec<Goal>) -> Result<Vec<Value>> {
    println!(
        "\nIOVAs for many buffers of 4 KiB, from an allocator with room for 65,536 of them and of ranges"
    );
    let mut table = new_table([
        "instructions and ns for each",
        "of 1,000",
        "of 10,000",
        "of 65,000",
    ]);
    let mut rows = Vec::new();
    for (name, title, function, most) in DONE {
        let function = format!("measured_iova_{function}");
        let mut cells = vec![title.to_owned()];
        let mut last = 0;
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
            last = count(program, &arguments, &function)?.div_ceil(done);
            row["instructions"] = last.into();
            cells.push(format!("{last}, {}", nanoseconds(&row["nanoseconds"])));
            rows.push(row);
        }
        table.add_row(cells);
        goals.push(goal(
            &format!("IOVAs, {title}, instructions, of 65,000"),
            last,
            most,
        ));
    }
    println!("{table}");
    Ok(rows)
}
