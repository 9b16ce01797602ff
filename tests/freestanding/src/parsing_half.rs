//! The parsing half and nothing else: its size is the size of this program.
//!
//! It asks all five questions, and goes through everything that the answers hold.
#![no_std]
#![no_main]

use vfio_core::query;
use vfio_core::wire::info::Mappable;
use vfio_freestanding::opaque::{Opaque, OpaqueFd, any, used};

vfio_freestanding::entry!(run);
vfio_freestanding::link_without_panic!();

fn run() -> i32 {
    let (sys, fd) = (&Opaque, &OpaqueFd);
    let buffer = &mut [0_u8; 256][..];
    match query::device(sys, fd, buffer) {
        Ok(info) => {
            used((info.flags, info.num_regions, info.num_irqs));
            info.caps.iter().for_each(used);
        }
        Err(error) => used(error),
    }
    match query::region(sys, fd, any(), buffer) {
        Ok(info) => {
            used((info.flags, info.size, info.offset));
            info.caps.iter().for_each(used);
            if let Mappable::Areas(sparse) = info.mappable() {
                sparse.areas.iter().for_each(used);
            }
        }
        Err(error) => used(error),
    }
    match query::irq(sys, fd, any()) {
        Ok(info) => used(info),
        Err(error) => used(error),
    }
    match query::iommu(sys, fd, buffer) {
        Ok(info) => {
            used((info.flags, info.iova_pgsizes, info.dma_avail()));
            info.caps.iter().for_each(used);
            if let Some(ranges) = info.iova_ranges() {
                ranges.iter().for_each(used);
            }
        }
        Err(error) => used(error),
    }
    match query::hot_reset(sys, fd, buffer) {
        Ok(info) => {
            used(info.flags);
            info.devices.iter().for_each(used);
        }
        Err(error) => used(error),
    }
    0
}
