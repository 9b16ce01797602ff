//! NVMe with a thread for each queue pair, none of them scoped: each owns its pair, and all of
//! them together the controller.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::thread;

use vfio_core::device::Device;
use vfio_core::device::region::MappedRegion;
use vfio_core::dma::Dma;
use vfio_core::wire::abi::pci_region;
use vfio_drivers::nvme::{Controller, Namespace, Options, QueueOptions, QueuePair};
use vfio_hosted::model;
use vfio_hosted::sim::Kernel;
use vfio_skeletons::{Ended, open};

type Owned = Controller<Arc<Device<Kernel>>, Arc<Dma<Kernel>>>;

/// What a thread owns.
struct Worker {
    pair: QueuePair<Arc<Owned>, 32>,
    namespace: Namespace,
    number: u8,
}

impl Worker {
    /// Writes blocks of its own, and reads them back.
    fn run(mut self) {
        let len = 4 * usize::try_from(self.namespace.block_size()).unwrap();
        let lba = u64::from(self.number) * 64;
        for round in 0..8 {
            let written = vec![self.number << 4 | round; len];
            let mut read = vec![0; len];
            self.pair
                .write_blocks(&self.namespace, lba, &written)
                .unwrap();
            self.pair
                .read_blocks(&self.namespace, lba, &mut read)
                .unwrap();
            assert_eq!(read, written);
        }
    }
}

fn start(kernel: &Kernel) -> Result<Arc<Owned>, Box<dyn std::error::Error>> {
    let (device, dma) = open(kernel, kernel.place("0000:00:05.0"))?;
    let bar0 = MappedRegion::bring_up(Arc::clone(&device), pci_region::BAR0)?;
    let controller = Controller::start(device, bar0, dma, Options::default())?;
    Ok(Arc::new(controller))
}

#[test]
fn a_queue_pair_is_moved_into_a_thread_of_its_own() -> Ended {
    let kernel = Kernel::new().with_device("0000:00:05.0", model::nvme(), 7);
    let controller = start(&kernel)?;
    let mut threads = Vec::new();
    for number in 0..4 {
        let worker = Worker {
            pair: QueuePair::new(Arc::clone(&controller), QueueOptions::default())?,
            namespace: controller.namespace(1)?,
            number,
        };
        threads.push(thread::spawn(move || worker.run()));
    }
    // The last thread to end stops it.
    drop(controller);
    for thread in threads {
        thread.join().map_err(|_| "a thread failed")?;
    }
    assert_eq!((kernel.open_files(), kernel.live_dma_mappings()), (0, 0));
    Ok(())
}
