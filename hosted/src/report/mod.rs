//! INFO replies in a form for people and programs: names for numbers, and JSON through serde.
//!
//! The names of the fields are fixed: other programs read them.

mod caps;
mod inspection;
mod reply;

pub use caps::{Area, Body, Cap, Range};
pub use inspection::{
    HotReset, Inspection, Ioas, IommuReport, IrqReport, RegionReport, StretchReport, Trouble,
    inspect, regions,
};
pub use reply::{Dependent, Fields, Kind, Reply, Status, decode};

use bitflags::Flags;

/// Returns the names of the flags that are set. Bits without a name have none here: they show in
/// the raw value.
fn names<F: Flags>(flags: &F) -> Vec<&'static str> {
    flags.iter_names().map(|(name, _)| name).collect()
}

/// Bytes as two digits each.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
