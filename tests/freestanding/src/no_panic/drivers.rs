//! The reference drivers.

use core::sync::atomic::AtomicBool;
use core::time::Duration;

use vfio_core::device::irq::Vectors;
use vfio_core::device::{Device, DeviceHandle};
use vfio_core::dma::{Buffer, Direction, Dma, DmaHandle};
use vfio_core::mmio::{Access, CanReadWrite, Window};
use vfio_core::open::AddressSpace;
use vfio_core::open::container::Container;
use vfio_drivers::igb::{Copied, Igb};
use vfio_drivers::nvme::{Controller, ErrorEntry, Namespace, Options, QueueOptions, QueuePair};
use vfio_exercise::nvme::{Lent, random_reads};
use vfio_exercise::{edu, nvme};
use vfio_freestanding::opaque::{Opaque, OpaqueFd, any, used};

pub(crate) fn all(bytes: &mut [u8]) {
    let device = Device::new(Opaque, OpaqueFd);
    let Ok(container) = Container::open(Opaque) else {
        return;
    };
    let Ok(dma) = Dma::<_, 16>::new(Opaque, AddressSpace::Container(container)) else {
        return;
    };
    super::virtio::all(&device, &dma, bytes);
    let (bytes, reply) = bytes.split_at_mut_checked(any()).unwrap_or_default();
    let Ok(region) = device.region(any(), reply) else {
        return;
    };
    if let Ok(bar0) = device.map::<CanReadWrite>(&region, any()) {
        let report = edu::exercise(&device, bar0, &dma);
        used(edu::Report::passed(&report));
    }
    if let (Ok(bar0), Ok(vectors)) = (
        device.map::<CanReadWrite>(&region, any()),
        device.vectors::<1>(any()),
    ) {
        igb(bar0, &dma, &vectors);
    }
    if let Ok(bar0) = device.map::<CanReadWrite>(&region, any()) {
        let lent = Lent {
            kept: bytes,
            ends: &AtomicBool::new(any()),
        };
        let report = nvme::exercise(&device, bar0, &dma, options(), lent);
        used(nvme::Report::passed(&report));
    }
    if let (Ok(bar0), Ok(vectors)) = (
        device.map::<CanReadWrite>(&region, any()),
        device.vectors::<1>(any()),
    ) && let Ok(mut controller) = Controller::start(&device, bar0, &dma, options())
    {
        used(controller.restart().is_ok());
        said(&controller);
        if let Ok(namespace) = controller.namespace(any()) {
            commands(&controller, &namespace, &vectors, bytes);
        }
        used(controller.shut_down().is_ok());
    }
}

fn igb<A: Access, M: DmaHandle, D: DeviceHandle>(bar0: Window<A>, dma: M, vectors: &Vectors<D, 1>) {
    let buffer = || Buffer::new(dma.clone(), any(), Direction::Both);
    let (Ok(source), Ok(target)) = (buffer(), buffer()) else {
        return;
    };
    let copied = Copied { source, target };
    let Ok(mut igb) = Igb::<_, _, 16>::new(bar0, dma, copied) else {
        return;
    };
    used(igb.until_linked(any()).is_ok());
    // SAFETY: nothing is behind the opaque shim.
    used(unsafe { igb.copy_at(any(), any(), any()) }.is_ok());
    used(igb.copy(any()).is_ok());
    used(igb.memory().is_ok());
    used(igb.raise(vectors, Duration::from_nanos(any())).is_ok());
    used(igb.remove().is_ok());
}

fn options() -> Options {
    Options {
        command: Duration::from_nanos(any()),
        admin: Duration::from_nanos(any()),
        shadow_doorbells: any(),
    }
}

/// Calls every getter of a controller.
fn said<D: DeviceHandle, M: DmaHandle, A: Access>(controller: &Controller<D, M, A>) {
    used(controller.version());
    used(controller.first_namespace().is_ok());
    used((controller.queues(), controller.longest_transfer()));
    let mut ids = [any(); 4];
    used(controller.namespace_ids(any(), &mut ids).is_ok());
    let mut entries = [ErrorEntry::default(); 4];
    used(controller.error_log(&mut entries).is_ok());
    used(entries);
    used(controller.health().is_ok());
    used(controller.enable_events().is_ok());
    used(controller.next_event().is_ok());
    used(controller.set_temperature_threshold(any()).is_ok());
    used(controller.temperature_threshold().is_ok());
    used(controller.is_write_cache_on().is_ok());
    controller.stop();
}

/// Commands of a queue pair.
fn commands<D: DeviceHandle, M: DmaHandle, A: Access>(
    controller: &Controller<D, M, A>,
    namespace: &Namespace,
    vectors: &Vectors<D, 1>,
    bytes: &mut [u8],
) {
    let namespace = &namespace.with_blocks(any());
    used((
        namespace.block_size(),
        namespace.size(),
        namespace.formats().len(),
    ));
    let options = QueueOptions {
        slot: any(),
        metadata: any(),
        vector: Some(any()),
    };
    let Ok(mut pair) = QueuePair::<_, 3>::new(controller, options) else {
        return;
    };
    used(pair.read_blocks(namespace, any(), bytes).is_ok());
    used(pair.write_blocks(namespace, any(), bytes).is_ok());
    used(pair.flush_blocks(namespace).is_ok());
    let reads = random_reads(&mut pair, namespace, any(), any(), any::<u64>);
    used(reads.is_ok_and(|cost| cost.of_a_read() > any()));
    if let Some(slot) = pair.slot()
        && let Ok(mut window) = pair.window(&slot)
    {
        used(window.read_bytes(any(), bytes).is_ok());
        used(window.write_bytes(any(), bytes).is_ok());
        used(pair.metadata(&slot).is_ok());
        used(pair.release(slot).is_ok());
    }
    if let Some(slot) = pair.slot() {
        used(pair.read(slot, namespace, any(), any()).is_ok());
    }
    if let Some(slot) = pair.slot() {
        used(pair.write(slot, namespace, any(), any()).is_ok());
    }
    if let Some(slot) = pair.slot() {
        used(
            pair.write_with_metadata(slot, namespace, any(), any())
                .is_ok(),
        );
    }
    used(pair.check().is_ok());
    if let Some(slot) = pair.slot() {
        used(
            pair.write_zeroes(slot, namespace, any(), any(), any())
                .is_ok(),
        );
    }
    if let Some(slot) = pair.slot() {
        let ranges = [any()..any(), any()..any()];
        if let Ok(id) = pair.deallocate(slot, namespace, &ranges) {
            used(pair.abort(id).is_ok());
        }
    }
    if let Ok(Some(ended)) = pair.wait_for_interrupt(vectors) {
        used(pair.release(ended.slot).is_ok());
    }
}
