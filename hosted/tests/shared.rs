//! What both worlds open can be sent to other threads and shared between them.

use vfio_core::container::{Container, Group};
use vfio_core::device::Device;
use vfio_core::dma::{Buffer, Dma};
use vfio_core::iommufd::Ioas;
use vfio_core::irq::Vectors;
use vfio_core::mmio::{Bar, Trapped, Window};
use vfio_core::session::Session;
use vfio_core::sys::Sys;
use vfio_hosted::failing::Failing;
use vfio_hosted::linux::Linux;
use vfio_hosted::sim::Kernel;

const fn shared<T: Send + Sync>() {}

const fn all<S>()
where
    S: Sys + Send + Sync + 'static,
    S::Fd: Send + Sync,
    S::Mapping: Send + Sync,
    S::Memory: Send + Sync,
    S::Event: Send + Sync,
{
    shared::<(Container<S>, Group<S>, Ioas<S>, Session<S>, Device<S>)>();
    shared::<(Window<Bar<'_, S>>, Window<Trapped<'_, S>>)>();
    shared::<(Vectors<'_, S, 2>, Dma<S, 4>, Buffer<'_, S, 4>)>();
}

const _: () = {
    all::<Linux>();
    all::<Kernel>();
    all::<Failing<Linux>>();
};

#[test]
fn a_device_is_closed_by_another_thread_than_opened_it() {
    let kernel = Kernel::new().with_device("0000:00:05.0", vfio_hosted::sim::model::edu(), 3);
    let place = kernel.place("0000:00:05.0").unwrap();
    let session = Session::open(&kernel, &place.as_place()).unwrap();
    std::thread::spawn(move || drop(session)).join().unwrap();
    assert_eq!(kernel.open_files(), 0);
}
