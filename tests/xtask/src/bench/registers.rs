//! Reading and writing a register, mapped and trapped.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Goal, count, goal, list, new_table};

/// The ways to reach a register, in the order of the table. The first of each half is the bare one.
const WAYS: [(&str, &str); 9] = [
    ("mapped_bare", "mapped, a bare volatile access"),
    ("mapped_core", "mapped, vfio-core"),
    (
        "mapped_core_checked",
        "mapped, vfio-core, at an offset of run time",
    ),
    ("mapped_pci_driver", "mapped, pci-driver 0.1"),
    (
        "mapped_pci_driver_region",
        "mapped, pci-driver 0.1, at an offset of run time",
    ),
    ("trapped_bare", "trapped, libc's pread and pwrite"),
    ("trapped_core", "trapped, vfio-core"),
    (
        "trapped_core_checked",
        "trapped, vfio-core, at an offset of run time",
    ),
    ("trapped_vfio_ioctls", "trapped, vfio-ioctls 0.10"),
];

/// Measures each way, and prints it.
///
/// # Errors
///
/// A way can't be run.
pub(super) fn measure(program: &Path, native: &Value, goals: &mut Vec<Goal>) -> Result<Vec<Value>> {
    println!("\nReading and writing a register of 32 bits");
    let mut table = new_table([
        "",
        "instructions to read",
        "to write",
        "ns to read",
        "to write",
    ]);
    let mut rows = Vec::new();
    for (name, title) in WAYS {
        let of_name = |row: &&Value| row["name"] == name;
        let mut row = list(native, "registers")
            .iter()
            .find(of_name)
            .with_context(|| format!("{name} was not measured"))?
            .clone();
        for access in ["read", "write"] {
            let function = format!("measured_{access}_{name}");
            let instructions = count(program, &["once", "register", name], &function)?;
            row[format!("instructions_{access}")] = instructions.into();
        }
        table.add_row([
            title.to_owned(),
            row["instructions_read"].to_string(),
            row["instructions_write"].to_string(),
            tenths(&row["read"]),
            tenths(&row["write"]),
        ]);
        rows.push(row);
    }
    println!(
        "{table}\nInstructions are those of a function that makes one access, up to its return; the kernel's do not count. \
         Memory stands for the\nmapped BAR, a file for the trapped one. pci-driver opens its devices from sysfs alone, so \
         that its trapped access needs one;\nvfio-ioctls has no mapped one."
    );
    for access in ["read", "write"] {
        let of = |name: &str| {
            let row = rows.iter().find(|row| row["name"] == name);
            row.and_then(|row| row[format!("instructions_{access}")].as_u64())
        };
        // What is missing is too much, and as a limit too little.
        let pair = |name, limit| (of(name).unwrap_or(u64::MAX), of(limit).unwrap_or(0));
        let (core, bare) = pair("mapped_core", "mapped_bare");
        goals.push(goal(
            &format!("{access} of a mapped register, instructions, against a bare one"),
            core,
            bare,
        ));
        let (core, peer) = pair("trapped_core", "trapped_vfio_ioctls");
        goals.push(goal(
            &format!("{access} of a trapped register, instructions, against vfio-ioctls"),
            core,
            peer,
        ));
    }
    Ok(rows)
}

fn tenths(value: &Value) -> String {
    format!("{:.1}", value.as_f64().unwrap_or(f64::NAN))
}
