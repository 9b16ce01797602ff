//! The reference drivers.

use core::time::Duration;

use vfio_core::container::Container;
use vfio_core::device::Device;
use vfio_core::dma::{AddressSpace, Direction, Dma};
use vfio_core::irq::Vectors;
use vfio_core::mmio::{Access, ReadWrite, Window};
use vfio_core::sys::Sys;
use vfio_drivers::edu::{Outcome, exercise};
use vfio_drivers::igb::Igb;
use vfio_freestanding::opaque::{Opaque, OpaqueFd, any, used};

pub(crate) fn all(bytes: &mut [u8]) {
    let device = Device::new(Opaque, OpaqueFd);
    let Ok(container) = Container::open(Opaque) else {
        return;
    };
    let Ok(dma) = Dma::<_, 16>::new(Opaque, AddressSpace::Container(container)) else {
        return;
    };
    let Ok(region) = device.region(any(), bytes) else {
        return;
    };
    if let Ok(bar0) = device.map::<ReadWrite>(&region, any()) {
        let report = exercise(&device, bar0, &dma);
        used(
            report
                .steps
                .map(|(_, outcome)| matches!(outcome, Outcome::Passed)),
        );
    }
    if let (Ok(bar0), Ok(vectors)) = (
        device.map::<ReadWrite>(&region, any()),
        device.vectors::<1>(any()),
    ) {
        igb(bar0, &dma, &vectors);
    }
}

fn igb<S: Sys, A: Access>(bar0: Window<A>, dma: &Dma<S, 16>, vectors: &Vectors<'_, S, 1>) {
    let Ok(mut igb) = Igb::<_, _, 16>::new(bar0, dma) else {
        return;
    };
    used(igb.until_linked(any()).is_ok());
    used(igb.copy_at(any(), any(), any()).is_ok());
    if let (Ok(from), Ok(mut to)) = (
        dma.buffer(any(), Direction::Both),
        dma.buffer(any(), Direction::Both),
    ) {
        used(igb.copy(&from, &mut to, any()).is_ok());
    }
    used(igb.raise(vectors, Duration::from_nanos(any())).is_ok());
    used(igb.remove().is_ok());
}
