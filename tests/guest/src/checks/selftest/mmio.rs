//! A BAR that is mapped for DMA (`vfio_dma_mapping_mmio_test`): type 1 maps it, iommufd does not.

use core::mem::ManuallyDrop;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use vfio_core::device::Device as Opened;
use vfio_core::device::region::MappedRegion;
use vfio_core::dma::Direction;
use vfio_core::mmio::{CanReadWrite, Window};
use vfio_core::sys::{Errno, Pages, Sys as _};
use vfio_guest::Device;
use vfio_hosted::linux::Linux;

use super::setup::{MappedBar, initialised};
use super::{PAGE, ranges};
use crate::mode::{InGuest as _, Mode};
use crate::report::NotRun;
use crate::world::World;

type Space = vfio_core::open::AddressSpace<Linux>;

/// The alignment that lets the largest pages be used, in bytes.
const LARGEST: u64 = 1 << 30;
/// How many mappings are made until one is misaligned.
const TRIES: usize = 8;

/// Maps the whole of the largest BAR.
pub(crate) fn whole_bar(_: &World, device: &Device, mode: Mode) -> Result<String> {
    let (space, opened) = mode.open(device)?;
    let (index, bar) = largest(initialised(&opened)?)?;
    let len = bar.len();
    peer(&space, bar, len, mode).with_context(|| format!("BAR{index}"))
}

/// Its first page.
pub(crate) fn first_page(_: &World, device: &Device, mode: Mode) -> Result<String> {
    let (space, opened) = mode.open(device)?;
    let (index, bar) = largest(initialised(&opened)?)?;
    let page = usize::try_from(PAGE)?;
    if bar.len() < 2 * page {
        return Err(NotRun("the largest BAR is one page".into()).into());
    }
    peer(&space, bar, page, mode).with_context(|| format!("BAR{index}"))
}

/// Maps the whole of the largest BAR at an address that does not fit large pages.
pub(crate) fn misaligned(_: &World, device: &Device, mode: Mode) -> Result<String> {
    let (space, opened) = mode.open(device)?;
    let (index, first) = largest(initialised(&opened)?)?;
    let len = first.len();
    let align = u64::try_from(len)?.min(LARGEST);
    if align <= PAGE {
        return Err(NotRun("the largest BAR is one page".into()).into());
    }
    let mut buffer = [0; 512];
    let region = opened.region(index, &mut buffer)?;
    let mut kept = Vec::new();
    for _ in 0..TRIES {
        let before = addresses()?;
        let bar = opened.map::<CanReadWrite>(&region, 0)?;
        let after = addresses()?;
        let new = after.iter().find(|address| !before.contains(address));
        let address = *new.context("the mapping is not to be seen")?;
        if !address.is_multiple_of(align) {
            peer(&space, bar, len, mode).with_context(|| format!("BAR{index}"))?;
            return Ok(format!("BAR{index} at {address:#x}"));
        }
        // A page beside it shifts the next one.
        kept.push((bar, Linux.memory(usize::try_from(PAGE)?, Pages::Ordinary)?));
    }
    Err(NotRun("every mapping is aligned".into()).into())
}

/// Returns the largest BAR that is mapped.
fn largest(bars: Vec<MappedBar<'_>>) -> Result<MappedBar<'_>> {
    let largest = bars.into_iter().max_by_key(|(_, bar)| bar.len());
    largest.ok_or_else(|| NotRun("no BAR of the device can be mapped".into()).into())
}

/// Maps the first `len` bytes of a BAR for DMA, and unmaps them; iommufd refuses.
fn peer(
    space: &Space,
    bar: Window<MappedRegion<&Opened<Linux>>>,
    len: usize,
    mode: Mode,
) -> Result<String> {
    // Where it can't be unmapped, the window stays.
    let bar = ManuallyDrop::new(bar);
    let size = u64::try_from(len)?;
    let ranges = ranges(space)?;
    let iova = ranges.iter().find_map(|(start, last)| {
        let iova = start.checked_next_multiple_of(size)?;
        (iova.checked_add(size - 1)? <= *last).then_some(iova)
    });
    let iova = iova.context("no range is large enough")?;
    // SAFETY: the window is dropped below, after it was unmapped or where it was not mapped.
    let mapped = unsafe { space.map_bar(&bar, 0..len, iova, Direction::Both) };
    if mode.is_iommufd() {
        ensure!(mapped == Err(Errno::EFAULT), "{mapped:?}");
        drop(ManuallyDrop::into_inner(bar));
        return Ok("iommufd refuses".into());
    }
    mapped.context("map")?;
    let unmapped = space.unmap(iova, size)?;
    ensure!(unmapped == size, "{unmapped} bytes");
    drop(ManuallyDrop::into_inner(bar));
    Ok(format!("{size:#x} bytes"))
}

/// Returns where devices are mapped.
fn addresses() -> Result<Vec<u64>> {
    let maps = fs::read_to_string("/proc/self/maps").context("cannot read /proc/self/maps")?;
    let devices = maps.lines().filter(|line| line.contains("vfio"));
    devices
        .map(|line| {
            let start = line.split('-').next().unwrap_or_default();
            u64::from_str_radix(start, 16).with_context(|| line.to_owned())
        })
        .collect()
}
