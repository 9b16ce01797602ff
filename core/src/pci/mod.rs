//! PCI configuration space: the header, the BARs and the capabilities of a device, typed.
//!
//! [`Config`] reads a configuration space through [`ConfigAccess`], wherever it lies: in a
//! [`Snapshot`] of bytes, in the config region of an open VFIO device ([`DeviceConfig`]), or
//! behind whatever else implements the trait. Every access is aligned and of 1, 2 or 4 bytes, as
//! devices expect; registers are little-endian on any host (PCI Local Bus specification 3.0,
//! section 6.1).
//!
//! # Capabilities
//!
//! There are two linked lists: the standard one in the first 256 bytes (PCI Local Bus
//! specification 3.0, section 6.7) and, in a space of 4096 bytes, the extended one from 0x100 on
//! (PCI Express base specification, section 7.6). [`Config::capabilities`] and
//! [`Config::extended_capabilities`] walk them. Both are lists in live memory that belongs to the
//! device: what was checked once can change, and each read can fail. So every step is checked
//! when it is taken, and the iterators yield results: a pointer into the header, a loop, or a
//! pointer out of the space is a [`ListError`] that says where, after which the iteration ends. A
//! list is never cut short in silence, and no walk takes more than 48 or 960 steps.
//!
//! [`Config::find`] walks a whole list, so that it answers `None` only where the list is sound.
//!
//! ```
//! use vfio_core::pci::{Config, Msix, Snapshot};
//!
//! # let mut bytes = [0; 256];
//! # bytes[..2].copy_from_slice(&[0x36, 0x1b]);
//! # bytes[6] = 0x10;
//! # bytes[0x34] = 0x40;
//! # bytes[0x40..0x4c].copy_from_slice(&[0x11, 0, 0x40, 0, 0, 0x20, 0, 0, 0, 0x30, 0, 0]);
//! let config = Config::new(Snapshot(&bytes));
//! assert_eq!(config.id()?.vendor, 0x1b36);
//! for entry in config.capabilities() {
//!     let entry = entry?;
//!     println!("{} at {:#x}", entry.id, entry.offset);
//! }
//! if let Some(msix) = config.find::<Msix>()? {
//!     assert_eq!(msix.table.vectors(), 65);
//!     assert_eq!((msix.table.bar(), msix.table.offset()), (0, 0x2000));
//! }
//! # Ok::<(), vfio_core::pci::ConfigError<vfio_core::pci::PastEnd>>(())
//! ```
//!
//! A capability without a type here is [`Capability::Other`], or one of the caller's own types
//! that implements [`TypedCapability`]: that is how a driver reads what its vendor defined.
//!
//! # What VFIO makes of it
//!
//! The kernel stands between a driver and config space: BARs, the command register and the
//! interrupt capabilities are partly virtual, and writes that it does not allow are dropped. The
//! size of a BAR is the size of its region, interrupts are set up by `VFIO_DEVICE_SET_IRQS`, and
//! some capabilities are hidden: the extended list then starts with a header of id 0.

mod access;
mod bar;
mod bring_up;
mod capability;
mod config;
#[cfg(feature = "pci_types")]
mod config_region;
mod device;
mod error;
mod field;
mod header;
mod id;
mod list;
mod msix_table;
#[cfg(test)]
mod sample;
mod snapshot;

pub use access::{ConfigAccess, ConfigWrite};
pub use bar::{Bar, Bars, BarsIter, ExpansionRom, UnpairedBar};
pub use bring_up::BringUpError;
pub use capability::{
    AccessControl, AcsFlags, AddressTranslation, AdvancedFeatures, AerControl, AfCapabilities,
    AlternativeRouting, AriFlags, AtsControl, Body, Capability, CorrectableErrors,
    DesignatedVendor, DeviceCapabilities, DeviceCapabilities2, DeviceControl, DeviceControl2,
    DeviceStatus, ErrorReporting, Express2, ExtendedVendor, Link, LinkSpeed, Msi, MsiControl, Msix,
    MsixControl, Pasid, PasidFlags, PciExpress, PortType, PowerCapabilities, PowerManagement,
    PowerState, SerialNumber, SrIov, SrIovControl, TypedCapability, UncorrectableErrors,
    VendorSpecific,
};
pub use config::Config;
pub use device::{DeviceConfig, TransferError};
pub use error::{ConfigError, ListError};
pub use header::{Class, Command, HeaderLayout, HeaderType, Id, InterruptPin, Status};
pub use id::{CapabilityId, ExtendedId, StandardId};
pub use list::{Capabilities, Entry, ExtendedCapabilities};
pub use msix_table::{MsixEntry, MsixPending, MsixTable, TableError, VectorControl};
pub use snapshot::{PastEnd, Snapshot};

#[cfg(feature = "pci_types")]
pub use config_region::ConfigRegion;

/// Bytes of a conventional configuration space.
pub const CONVENTIONAL_SIZE: u16 = 0x100;

/// Bytes of a configuration space with extended capabilities.
pub const EXTENDED_SIZE: u16 = 0x1000;
