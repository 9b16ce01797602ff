//! The VFIO and iommufd user ABI: structs, request numbers, flags and ids, and nothing else.
//!
//! The source is Linux' own headers, `linux/vfio.h`, `linux/vfio_zdev.h` and `linux/iommufd.h`, as
//! of Linux 7.3. SPAPR and EEH (the PowerPC IOMMU) are left out.
//!
//! # Names
//!
//! A struct keeps its C name in camel case, less the `vfio_` prefix: `struct vfio_region_info` is
//! [`RegionInfo`], `struct iommu_ioas_map` is [`IommuIoasMap`]. Fields keep their names, less leading
//! underscores; `type` is `type_`.
//!
//! # Structs
//!
//! Every struct is in the byte order and the C layout of the target, and every size and offset is
//! asserted when the crate is compiled. Padding is a field, so that a struct can be turned into bytes
//! and back by [`zerocopy`], for any bytes whatsoever. Where C has an array at the end of a struct,
//! the Rust struct stops before it, and its documentation says what follows.
//!
//! The first field, `argsz` (`size` in iommufd), is the size in bytes of the buffer that the caller
//! provides: the kernel reads and writes no more.
//!
//! # Values that this version does not know
//!
//! The kernel adds flags, capabilities and region types in every other release. A flags type keeps
//! bits that have no name; an id is a newtype over its integer, not an `enum`. Both print the name
//! where there is one and the number where there is none.
//!
//! ```
//! use vfio_core::wire::abi::{FeatureId, RegionFlags};
//!
//! let flags = RegionFlags::from_bits_retain(0x103);
//! assert!(flags.contains(RegionFlags::READ));
//! assert_eq!(flags.bits(), 0x103);
//! assert_eq!(flags.to_string(), "READ | WRITE | 0x100");
//! assert_eq!(FeatureId(11).to_string(), "DMA_BUF");
//! assert_eq!(FeatureId(99).to_string(), "0x63");
//! ```
#![forbid(unsafe_code)]

#[macro_use]
mod define;

mod cap;
mod ccw;
mod device;
mod feature;
mod gfx;
mod group;
pub mod ioctl;
mod iommufd;
mod irq;
mod migration;
mod region;
mod region_type;
mod reset;
mod type1;
mod zpci;

pub use cap::*;
pub use ccw::*;
pub use device::*;
pub use feature::*;
pub use gfx::*;
pub use group::*;
pub use iommufd::*;
pub use irq::*;
pub use migration::*;
pub use region::*;
pub use region_type::*;
pub use reset::*;
pub use type1::*;
pub use zpci::*;
