//! Two devices in one address space: what one writes the other reads, at the same address.
#![forbid(unsafe_code)]

use std::sync::Arc;

use vfio_core::dma::{Buffer, BufferOptions, Direction};
use vfio_core::open::{Mode, Session};
use vfio_hosted::model;
use vfio_hosted::sim::Kernel;
use vfio_skeletons::Ended;
use vfio_skeletons::copier::{Copier, HIGHEST};

#[test]
fn a_buffer_is_written_by_one_device_and_read_by_another() -> Ended {
    let kernel = Kernel::new()
        .with_device("0000:00:05.0", model::edu(), 7)
        .with_device("0000:00:06.0", model::edu(), 8);
    let places = ["0000:00:05.0", "0000:00:06.0"].map(|name| kernel.place(name).unwrap());
    for mode in [Mode::Iommufd, Mode::Type1v2, Mode::IommufdType1v2] {
        let session = Session::open_in(mode, &kernel, &places[0].as_place())?;
        let (first, dma) = session.split()?;
        let dma = Arc::new(dma);
        let second = Arc::new(dma.attach(&places[1].as_place())?);
        let mut first = Copier::new(Arc::new(first))?;
        let mut second = Copier::new(second)?;

        let options = BufferOptions::new(Direction::Both).up_to(HIGHEST);
        let mut shared = Buffer::new(dma, 4096, options)?;
        shared.window().write_bytes(0, b"from one to another")?;
        // Disjoint parts of it, each as a buffer of its own.
        let (written, passed) = (shared.part(0, 64)?, shared.part(1024, 64)?);
        let mut read = shared.part(2048, 64)?;
        first.load(&written)?;
        first.store(&passed)?;
        second.load(&passed)?;
        second.store(&read)?;
        let mut text = [0; 19];
        read.window().read_bytes(0, &mut text)?;
        assert_eq!(&text, b"from one to another", "{mode}");
    }
    assert!(kernel.faults().is_empty());
    Ok(())
}
