//! Discovery from sysfs: which PCI devices there are, and what stands in the way of opening each through VFIO.
//!
//! ```no_run
//! use vfio_hosted::discovery::{Caller, System};
//!
//! let system = System::host();
//! let caller = Caller::current();
//! for device in system.devices()? {
//!     for obstacle in system.obstacles(&device, &caller) {
//!         println!("{}: {obstacle}", device.address);
//!         for command in obstacle.remedy().commands {
//!             println!("    {command}");
//!         }
//!     }
//! }
//! # Ok::<(), vfio_hosted::discovery::DiscoveryError>(())
//! ```
//!
//! What is read is distrusted: a malformed entry is an error that names its file, text is taken lossily and stripped
//! of control characters, and a device that goes away during the scan is left out.

mod address;
mod caller;
mod device;
mod error;
mod group;
mod nodes;
mod obstacle;
mod openable;
mod pci_ids;
mod sysfs;
mod system;

#[cfg(test)]
mod fake_tree;

pub use address::{Address, ParseAddressError};
pub use caller::Caller;
pub use device::{Device, Names};
pub use error::DiscoveryError;
pub use group::{Group, Member};
pub use obstacle::{NoIommuMode, Obstacle, Remedy, bind_commands};
pub use system::System;
