//! What both worlds open can be sent to other threads and shared between them.

use std::sync::Arc;

use vfio_core::device::Device;
use vfio_core::device::irq::Vectors;
use vfio_core::device::region::{MappedRegion, TrappedRegion};
use vfio_core::dma::{Buffer, Dma};
use vfio_core::mmio::Window;
use vfio_core::open::Session;
use vfio_core::open::container::{Container, Group};
use vfio_core::open::iommufd::Ioas;
use vfio_core::sys::Sys;
use vfio_hosted::failing::Failing;
use vfio_hosted::linux::Linux;
use vfio_hosted::sim::Kernel;

const fn shared<T: Send + Sync>() {}

/// Checks that a handle with `Arc`s outlives whoever made it.
const fn owned<T: Send + Sync + 'static>() {}

const fn all<S>()
where
    S: Sys + Send + Sync + 'static,
    S::Fd: Send + Sync,
    S::Mapping: Send + Sync,
    S::Memory: Send + Sync,
    S::Event: Send + Sync,
{
    shared::<(Container<S>, Group<S>, Ioas<S>, Session<S>, Device<S>)>();
    owned::<(Vectors<Arc<Device<S>>, 2>, Buffer<Arc<Dma<S, 4>>>)>();
    owned::<(
        Window<MappedRegion<Arc<Device<S>>>>,
        Window<TrappedRegion<Arc<Device<S>>>>,
    )>();
    shared::<(
        Window<MappedRegion<&Device<S>>>,
        Window<TrappedRegion<&Device<S>>>,
    )>();
    shared::<(Vectors<&Device<S>, 2>, Dma<S, 4>, Buffer<&Dma<S, 4>>)>();
}

const _: () = {
    all::<Linux>();
    all::<Kernel>();
    all::<Failing<Linux>>();
};

#[test]
fn a_device_is_closed_by_another_thread_than_opened_it() {
    let kernel = Kernel::new().with_device("0000:00:05.0", vfio_hosted::model::edu(), 3);
    let place = kernel.place("0000:00:05.0").unwrap();
    let session = Session::open(&kernel, &place.as_place()).unwrap();
    std::thread::spawn(move || drop(session)).join().unwrap();
    assert_eq!(kernel.open_files(), 0);
}
