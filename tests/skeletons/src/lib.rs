//! What others build on `vfio-core`, on its public API alone.
//!
//! Each test target is the skeleton of a program: a driver that owns what it drives, threads with
//! a queue pair each, devices that share an address space, a virtual machine monitor. They run on
//! the simulated kernel, and are generic over the shim where nothing else is said. What several of
//! them need stands here.
#![forbid(unsafe_code)]

pub mod copier;

use std::error::Error;
use std::sync::Arc;

use vfio_core::device::Device;
use vfio_core::dma::Dma;
use vfio_core::open::Session;
use vfio_core::sys::Sys;
use vfio_hosted::OwnedPlace;

/// How a skeleton ends that has nothing to return.
pub type Ended = Result<(), Box<dyn Error>>;

/// A device and its address space, for any number of owners.
pub type Opened<S> = (Arc<Device<S>>, Arc<Dma<S>>);

/// Opens a device for whoever wants to own it.
///
/// # Errors
/// Where there is no device, or it can't be opened.
pub fn open<S: Sys + Clone>(
    sys: &S,
    place: Option<OwnedPlace>,
) -> Result<Opened<S>, Box<dyn Error>> {
    let place = place.ok_or("there is no such device")?;
    let (device, dma) = Session::open(sys, &place.as_place())?.split()?;
    Ok((Arc::new(device), Arc::new(dma)))
}
