//! The drivers of virtio-drivers over a device of VFIO: a transport over a BAR, and memory of an
//! address space.
#![deny(unsafe_code)]

mod disk;
#[expect(
    unsafe_code,
    reason = "the trait is unsafe to implement, and so are its methods"
)]
mod hal;
mod transport;

use vfio_core::device::region::MappedRegion;
use vfio_core::wire::abi::pci_region;
use vfio_hosted::sim::Kernel;
use vfio_skeletons::{Ended, open};
use virtio_drivers::device::blk::{SECTOR_SIZE, VirtIOBlk};

use hal::DmaHal;
use transport::BarTransport;

#[test]
fn a_disk_of_virtio_keeps_what_is_written() -> Ended {
    let kernel = Kernel::new().with_device("0000:00:05.0", disk::model(64), 7);
    let (device, dma) = open(&kernel, kernel.place("0000:00:05.0"))?;
    DmaHal::set_up(&dma);
    let bar0 = MappedRegion::bring_up(device, pci_region::BAR0)?;
    let mut disk = VirtIOBlk::<DmaHal, _>::new(BarTransport::new(bar0)?)?;
    assert_eq!(disk.capacity(), 64);
    for sector in 0..40 {
        let number = u8::try_from(sector)?;
        disk.write_blocks(sector, &[number; SECTOR_SIZE])?;
    }
    let mut read = vec![0; 40 * SECTOR_SIZE];
    disk.read_blocks(0, &mut read)?;
    for (sector, bytes) in (0..).zip(read.chunks(SECTOR_SIZE)) {
        assert_eq!(bytes, [sector; SECTOR_SIZE]);
    }
    assert!(disk.write_blocks(64, &[0; SECTOR_SIZE]).is_err());
    // The queue is left; what requests needed was given back.
    let queue = DmaHal::given();
    assert!(queue == 1 || queue == 2);
    drop(disk);
    assert_eq!(DmaHal::given(), 0);
    assert!(kernel.faults().is_empty());
    Ok(())
}
