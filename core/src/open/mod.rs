//! The ways to an open device: through a group and a container, through iommufd, or through
//! whichever of them the system has.
//!
//! A [`Session`] is what most drivers open. [`container`] and [`iommufd`] are the ways
//! themselves, for whoever shares an address space among devices, or asks it something.

mod attach;
pub mod container;
mod error;
pub mod iommufd;
mod mode;
mod place;
mod session;
pub(crate) mod space;

pub use error::SessionError;
pub use mode::Mode;
pub use place::Place;
pub use session::Session;
pub use space::AddressSpace;
