//! Discovery from sysfs: which PCI devices there are, and what stands in the way of opening each through VFIO; and
//! binding them.
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
//! [`System::bind`] gives a device to vfio-pci, and [`System::unbind`] gives it back; both use [`write_attribute`].
//! Nothing else here changes the system.
//!
//! What is read is distrusted: a malformed entry is an error that names its file, text is taken lossily and stripped
//! of control characters, and a device that goes away during the scan is left out.

mod address;
mod asking;
mod binding;
mod caller;
mod device;
mod error;
mod group;
mod nodes;
mod obstacle;
mod openable;
mod pci_ids;
mod process;
mod sysfs;
mod system;
mod usage;

pub use address::{Address, ParseAddressError};
pub use binding::{BindError, Bound, StepError, Unbound, write_attribute};
pub use caller::Caller;
pub use device::{Names, SysfsDevice};
pub use error::DiscoveryError;
pub use group::{Member, SysfsGroup};
pub use obstacle::{NoIommuMode, Obstacle, Remedy, bind_commands};
pub use process::Process;
pub use system::System;
pub use usage::{Role, Usage};
