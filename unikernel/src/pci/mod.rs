//! The PCI bus: which functions there are, where their registers are, and giving both a place
//! where the firmware did not.
//!
//! What configuration space means is the core's affair ([`vfio_core::pci`]); here it is reached.

mod address;
mod assign;
mod bars;
mod registers;
mod scan;
#[cfg(feature = "image")]
#[expect(unsafe_code, reason = "configuration space is mapped")]
mod space;
#[cfg(test)]
pub(crate) mod tests;

pub use address::Address;
pub use assign::{AssignError, Room, assign};
#[cfg(feature = "image")]
pub(crate) use bars::BARS;
pub use bars::{Region, RegionKind, Regions, size_bars};
pub use registers::{NoError, Registers, Spaces, Width};
pub use scan::{BridgeFault, FUNCTIONS_MOST, Function, Functions, ScanError, scan};
#[cfg(feature = "image")]
pub use space::{Space, SpaceError};

/// A configuration space that does not hold what it promises.
pub type ConfigError = vfio_core::pci::ConfigError<NoError>;

/// Returns the low and the high half.
fn halves(value: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    [
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    ]
}
