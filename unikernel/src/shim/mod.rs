//! VFIO without a kernel: what Linux answers for a PCI device without an IOMMU, answered here.
//!
//! Each function that is no bridge is bound to VFIO, and has an IOMMU group of its own: that of
//! `GuestPci::function(n)` is in group `n`, which no IOMMU confines. A container (`/dev/vfio/vfio`) has the one
//! IOMMU driver that maps nothing, `VFIO_NOIOMMU_IOMMU`: a device reaches memory where it is. INFO
//! ioctls are answered by the core's [`server`](vfio_core::wire::server). Whoever makes a `GuestPci` gives
//! the word that devices are kept to their own memory ([`NoIommu`](vfio_core::sys::NoIommu)).
//!
//! # What is different from Linux
//!
//! - INTx can't be had: its count is 0, as on Linux for a device whose INTx does not work. Nor can
//!   the request to give the device back: there is nobody who would ask.
//! - All devices together have 16 vectors; what asks for more gets `ENOSPC`.
//! - The expansion ROM and the VGA ranges are not there.
//! - A device is reset by its function level reset alone; without it, it can't be. It is not reset
//!   when it is opened, but its bus mastering is off.
//! - A BAR whose MSI-X table has pages of its own is mapped around them, so that no driver
//!   overwrites the messages; where the table is among other registers, all of the BAR is.
//! - Writes of configuration space are dropped where the shim itself owns the register: the
//!   messages of MSI and MSI-X, and what starts a reset.

mod arena;
#[cfg(feature = "image")]
mod config;
mod describe;
#[cfg(feature = "image")]
mod device;
mod files;
#[cfg(feature = "image")]
#[expect(
    unsafe_code,
    reason = "a name is not searched for its end, and memory may be the caller's"
)]
mod guest_pci;
#[cfg(feature = "image")]
#[expect(unsafe_code, reason = "BARs are mapped")]
mod mapping;
#[cfg(feature = "image")]
#[expect(unsafe_code, reason = "memory is given out")]
mod memory;
#[cfg(feature = "image")]
mod message;

pub use arena::Pages;
pub use describe::{DescribeError, Description, MsiPlace, MsixPlace, ResetPlace};
pub use files::{File, Files, Released};

#[cfg(feature = "image")]
pub use guest_pci::{DiscoverError, Event, Fd, GuestPci};
#[cfg(feature = "image")]
pub use mapping::Mapping;
#[cfg(feature = "image")]
pub use memory::Memory;

/// Bytes of a page.
pub const PAGE: usize = 4096;
