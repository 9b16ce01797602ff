//! Typed capabilities, one set for each INFO ioctl: the ids of the three are spaces of their own.
//!
//! A capability with an id or a version that is not known here is legal: it reaches the caller as
//! [`Unknown`], with all its bytes. A known capability whose body is broken is an error.

#![forbid(unsafe_code)]

mod array;
mod device;
mod error;
mod iommu;
mod list;
mod region;
mod region_kind;
mod sparse;

pub use array::{Array, Elements};
pub use device::{DeviceCap, ZpciBase, ZpciGroup};
pub use error::CapError;
pub use iommu::IommuCap;
pub(crate) use list::Check;
pub use list::{Caps, Iter, Typed, Unknown};
pub use region::RegionCap;
pub use region_kind::RegionKind;
pub use sparse::{AreaError, SparseMmap};
