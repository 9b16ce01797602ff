//! Mapping and unmapping many buffers.

use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use vfio_core::dma::Direction;
use vfio_core::dma::iova::IovaAllocator;
use vfio_core::mmio::Window;
use vfio_core::sys::{Pages, Sys as _};
use vfio_core::wire::abi::IovaRange;
use vfio_guest::Device;
use vfio_hosted::linux::Linux;
use zerocopy::FromZeros as _;

use super::super::selftest::ranges;
use super::{Figures, World};
use crate::mode::{InGuest as _, Mode};

/// How many buffers there are. Type 1 maps 65,535 by default.
const BUFFERS: [usize; 4] = [1, 1_000, 10_000, 65_000];

/// How many buffers and ranges the allocator has room for.
const CAPACITY: usize = 65_536;

/// Bytes of a buffer.
const PAGE: usize = 4096;

/// Nanoseconds for each buffer to find an address, map, unmap and give the address back.
pub(super) fn figures(_: &World, device: &Device, mode: Mode) -> Result<String> {
    let memories = BUFFERS.map(|buffers| Linux.memory(buffers * PAGE, Pages::Ordinary));
    let (space, _opened) = mode.open(device)?;
    let ranges = ranges(&space)?;
    let mut figures = Figures::new();
    for (buffers, memory) in BUFFERS.into_iter().zip(&memories) {
        let memory = memory.as_ref().map_err(|errno| *errno)?;
        // What is first touched costs a page fault, here and not below.
        let mut window = Window::new(memory);
        for n in 0..buffers {
            window.write::<u8>(n * PAGE, 1)?;
        }
        let told = ranges.iter().map(|&(start, end)| IovaRange { start, end });
        let mut iovas =
            IovaAllocator::<CAPACITY>::new_box_zeroed().map_err(|_| anyhow!("no memory"))?;
        iovas.init(told, PAGE as u64, None)?;
        let mut places = vec![0; buffers];
        let mut timed = |what: &str, run: &mut dyn FnMut() -> Result<()>| -> Result<()> {
            let start = Instant::now();
            run()?;
            let each = start.elapsed().as_nanos() as f64 / buffers as f64;
            figures.insert(format!("{what} of {buffers}, ns"), each);
            Ok(())
        };
        timed("allocate", &mut || {
            for place in &mut places {
                *place = iovas.allocate(PAGE as u64)?;
            }
            Ok(())
        })?;
        timed("map", &mut || {
            for (n, iova) in places.iter().enumerate() {
                let range = n * PAGE..(n + 1) * PAGE;
                // SAFETY: the memory was there before the address space and the device, and
                // outlives both.
                unsafe { space.map(memory, range, *iova, Direction::Both) }?;
            }
            Ok(())
        })?;
        timed("unmap", &mut || {
            for iova in &places {
                let size = space.unmap(*iova, PAGE as u64)?;
                ensure!(size == PAGE as u64, "{size} bytes were unmapped");
            }
            Ok(())
        })?;
        timed("free", &mut || {
            for iova in &places {
                iovas.free(*iova, PAGE as u64)?;
            }
            Ok(())
        })?;
        ensure!(iovas.mappings() == 0, "not everything is free");
    }
    Ok(serde_json::to_string(&figures)?)
}
