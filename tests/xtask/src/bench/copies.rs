//! Bytes between memory for DMA and a slice.

use serde_json::Value;

use super::{list, nanoseconds, new_table};

/// Prints what was measured. Times are for orientation: none has a target.
pub(super) fn print(native: &Value) -> Vec<Value> {
    println!("\nBytes between memory for DMA and a slice");
    let mut table = new_table([
        "bytes",
        "memcpy, ns",
        "read, ns",
        "of memcpy's",
        "write, ns",
        "of memcpy's",
    ]);
    let rows = list(native, "copies");
    for row in rows {
        let of_memcpy = |what: &str| {
            let times = row[what].as_f64().zip(row["memcpy"].as_f64());
            times.map_or_else(String::new, |(time, memcpy)| {
                format!("{:.2}", time / memcpy)
            })
        };
        table.add_row([
            row["bytes"].to_string(),
            nanoseconds(&row["memcpy"]),
            nanoseconds(&row["read"]),
            of_memcpy("read"),
            nanoseconds(&row["write"]),
            of_memcpy("write"),
        ]);
    }
    println!("{table}");
    rows.to_vec()
}
