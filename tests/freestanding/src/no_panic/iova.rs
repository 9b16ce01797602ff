//! The allocator of IOVAs.

use vfio_core::dma::iova::IovaAllocator;
use vfio_core::wire::abi::IovaRange;
use vfio_freestanding::opaque::{any, used};

pub(crate) fn all() {
    let ranges: [IovaRange; 3] = any();
    let known: u32 = any();
    let limit = (known != 0).then_some(known);
    let mut iovas = match IovaAllocator::<4>::new(ranges, any(), limit) {
        Ok(iovas) => iovas,
        Err(error) => return used(error),
    };
    let mut empty = IovaAllocator::<4>::empty();
    used(IovaAllocator::init(&mut empty, ranges, any(), limit));
    used(iovas == empty);
    used(IovaAllocator::narrow(&mut iovas, ranges));
    used(IovaAllocator::keep_back(&mut iovas, any(), any()));
    used(IovaAllocator::allocate(&mut iovas, any()));
    used(IovaAllocator::allocate_aligned(&mut iovas, any(), any()));
    used(IovaAllocator::allocate_up_to(
        &mut iovas,
        any(),
        any(),
        any(),
    ));
    used(IovaAllocator::reserve(&mut iovas, any(), any()));
    used(IovaAllocator::free(&mut iovas, any(), any()));
    used(IovaAllocator::page_size(&iovas));
    used(IovaAllocator::mappings(&iovas));
    used(IovaAllocator::available(&iovas));
    used(IovaAllocator::largest_free(&iovas));
    IovaAllocator::free_ranges(&iovas).for_each(used);
    IovaAllocator::ranges(&iovas).for_each(used);
}
