//! One source of a driver: it owns its device and its memory, or borrows them.
#![forbid(unsafe_code)]

use std::error::Error;
use std::sync::Arc;
use std::thread;

use vfio_core::device::irq::Vectors;
use vfio_core::device::region::MappedRegion;
use vfio_core::device::{Device, DeviceHandle};
use vfio_core::dma::{Direction, Dma, DmaHandle};
use vfio_core::sys::{SyncSys, Sys};
use vfio_core::wire::abi::{pci_irq, pci_region};
use vfio_drivers::edu::{DmaEngine, Edu};
use vfio_hosted::OwnedPlace;
use vfio_hosted::model;
use vfio_hosted::sim::Kernel;
use vfio_skeletons::{Ended, open};

/// A driver, by whichever handles.
struct Driver<D: DeviceHandle, M: DmaHandle> {
    engine: DmaEngine<MappedRegion<D>, M>,
    vectors: Vectors<D, 1>,
}

/// One that owns all that it drives.
type Owned<S> = Driver<Arc<Device<S>>, Arc<Dma<S>>>;

impl<D: DeviceHandle, M: DmaHandle> Driver<D, M> {
    fn new(device: D, dma: M) -> Result<Self, Box<dyn Error>> {
        let edu = Edu::new(MappedRegion::bring_up(device.clone(), pci_region::BAR0)?)?;
        let engine = DmaEngine::new(edu, dma, Direction::Both)?;
        let vectors = Vectors::new(device, pci_irq::MSI)?;
        Ok(Self { engine, vectors })
    }

    /// Sends `bytes` to the device and back.
    fn echo(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
        let mut back = vec![0; bytes.len()];
        self.engine.write(bytes)?;
        self.engine.read_by_interrupt(&mut back, &self.vectors)?;
        Ok(back)
    }
}

/// Checks that nothing is left on the stack of who opens a device.
fn owned<S: Sys + Clone>(sys: &S, place: Option<OwnedPlace>) -> Result<Owned<S>, Box<dyn Error>> {
    let (device, dma) = open(sys, place)?;
    Driver::new(device, dma)
}

/// Checks that each driver works in a thread of its own, and comes back.
fn in_threads<S: SyncSys + 'static>(drivers: Vec<Owned<S>>) -> Vec<Owned<S>> {
    let work = |(mut driver, number): (Owned<S>, u8)| {
        thread::spawn(move || {
            assert_eq!(driver.echo(&[number; 100]).unwrap(), [number; 100]);
            driver
        })
    };
    let threads: Vec<_> = drivers.into_iter().zip(1..).map(work).collect();
    let ended = threads.into_iter().map(thread::JoinHandle::join);
    ended.map(Result::unwrap).collect()
}

fn kernel() -> Kernel {
    Kernel::new()
        .with_device("0000:00:05.0", model::edu(), 7)
        .with_device("0000:00:06.0", model::edu(), 8)
}

#[test]
fn drivers_that_own_are_returned_kept_and_sent_to_threads() -> Ended {
    let kernel = kernel();
    let mut drivers = Vec::new();
    for name in ["0000:00:05.0", "0000:00:06.0"] {
        drivers.push(owned(&kernel, kernel.place(name))?);
    }
    for driver in &mut in_threads(drivers) {
        assert_eq!(driver.echo(b"and back")?, b"and back");
    }
    let left = (kernel.open_files(), kernel.live_mappings());
    assert_eq!((left, kernel.live_dma_mappings()), ((0, 0), 0));
    Ok(())
}

#[test]
fn the_same_driver_borrows() -> Ended {
    let kernel = kernel();
    let (device, dma) = open(&kernel, kernel.place("0000:00:05.0"))?;
    let (device, dma): (&Device<_>, &Dma<_>) = (&device, &dma);
    let mut driver = Driver::new(device, dma)?;
    assert_eq!(driver.echo(b"borrowed")?, b"borrowed");
    Ok(())
}
