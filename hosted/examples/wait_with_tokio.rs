//! Waits for interrupts as futures, with tokio's `AsyncFd`.
//!
//! The event of a vector is a file descriptor on Linux and on the simulated kernel, so that any
//! loop can wait for it among other things. `wait_with_tokio 0000:00:05.0` waits for a message of
//! a device that is bound to vfio-pci, and without an argument for one of a simulated device.

use std::error::Error;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use vfio_core::device::irq::{Action, Data, Vectors};
use vfio_core::device::{Device, DeviceHandle};
use vfio_core::open::Session;
use vfio_core::sys::Sys;
use vfio_core::wire::abi::pci_irq;
use vfio_hosted::OwnedPlace;
use vfio_hosted::discovery::System;
use vfio_hosted::linux::Linux;
use vfio_hosted::model;
use vfio_hosted::sim::Kernel;

/// Waits until the interrupt `vector` occurs, and returns how often it did.
async fn interrupt<D, const N: usize>(vectors: &Vectors<D, N>, vector: usize) -> io::Result<u64>
where
    D: DeviceHandle<Sys: Sys<Event: AsFd>>,
{
    let event = vectors.event(vector).ok_or(io::ErrorKind::NotFound)?;
    // SAFETY: a borrowed descriptor is always the same one, and open until the borrow ends, which
    // outlives the `AsyncFd`.
    let event = unsafe { AsyncFd::register_with_interest(event.as_fd(), Interest::READABLE) }?;
    loop {
        let mut readable = event.readable().await?;
        match vectors.take(vector)? {
            // Somebody else has taken it.
            0 => readable.clear_ready(),
            count => return Ok(count),
        }
    }
}

/// Has the kernel trigger the first interrupt of `index` twice, and waits for each.
async fn wait<S>(sys: &S, place: &OwnedPlace, index: u32) -> Result<u64, Box<dyn Error>>
where
    S: Sys<Event: AsFd> + Clone,
{
    let device: Arc<Device<S>> = Arc::new(Session::open(sys, &place.as_place())?.device);
    let vectors = Vectors::<_, 1>::new(Arc::clone(&device), index)?;
    let mut count = 0;
    for _ in 0..2 {
        let trigger = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            device.set_irqs(index, 0, Action::Trigger, &Data::All(1), &mut [0; 20])
        };
        let (came, triggered) = tokio::join!(interrupt(&vectors, 0), trigger);
        triggered?;
        count += came?;
    }
    Ok(count)
}

/// Waits for a message of a simulated device.
async fn simulated() -> Result<u64, Box<dyn Error>> {
    let kernel = Kernel::new().with_device("0000:00:05.0", model::edu(), 7);
    let place = kernel.place("0000:00:05.0").ok_or("it is not there")?;
    wait(&kernel, &place, pci_irq::MSI).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let count = match std::env::args().nth(1) {
        Some(name) => {
            let place = System::host().place(name.parse()?)?;
            wait(&Linux, &place, pci_irq::MSI).await?
        }
        None => simulated().await?,
    };
    println!("{count} interrupts came");
    Ok(())
}

#[tokio::test]
async fn interrupts_are_futures() {
    let waited = tokio::time::timeout(Duration::from_secs(10), simulated());
    assert_eq!(waited.await.unwrap().unwrap(), 2);
}
