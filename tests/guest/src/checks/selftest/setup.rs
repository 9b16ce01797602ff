//! What is asserted whenever a device is opened.

use anyhow::{Context as _, Result, bail, ensure};
use vfio_core::device::Device as Opened;
use vfio_core::device::coverage::Reach;
use vfio_core::device::region::MappedRegion;
use vfio_core::dma::iova::IovaAllocator;
use vfio_core::dma::{BufferOptions, Direction, Dma};
use vfio_core::mmio::{CanReadWrite, Window};
use vfio_core::open::AddressSpace;
use vfio_core::query::QueryError;
use vfio_core::sys::Errno;
use vfio_core::wire::abi::{DeviceFlags, IovaRange, RegionFlags, pci_irq, pci_region};
use vfio_guest::Device;
use vfio_hosted::linux::Linux;

use super::{PAGE, ranges};
use crate::mode::{InGuest as _, Mode};
use crate::world::World;

/// A BAR that is mapped whole: its index and its memory.
pub(super) type MappedBar<'d> = (u32, Window<MappedRegion<&'d Opened<Linux>>>);

/// Checks that the device, its regions and its interrupts answer, and what can be mapped is mapped.
pub(crate) fn initialise(_: &World, device: &Device, mode: Mode) -> Result<String> {
    let (_space, opened) = mode.open(device)?;
    let mut bars = initialised(&opened)?;
    if device.name == "ivshmem-plain" {
        sub_page(&mut bars)?;
    }
    let sizes: Vec<_> = bars
        .iter()
        .map(|(index, bar)| format!("BAR{index} {:#x}", bar.len()))
        .collect();
    Ok(sizes.join(", "))
}

/// Asks about everything, and maps every BAR that can be mapped.
pub(super) fn initialised(opened: &Opened<Linux>) -> Result<Vec<MappedBar<'_>>> {
    let mut buffer = [0; 512];
    let info = opened.info(&mut buffer)?;
    ensure!(info.flags.contains(DeviceFlags::PCI), "{}", info.flags);
    let config = opened.region(pci_region::CONFIG, &mut buffer)?;
    ensure!(
        !config.flags.contains(RegionFlags::MMAP),
        "the config space is to be mapped"
    );
    let mut bars = Vec::new();
    for index in pci_region::BAR0..=pci_region::BAR5 {
        let region = opened.region(index, &mut buffer)?;
        let mapped: Vec<_> = opened
            .coverage(&region)
            .filter(|span| span.reach == Reach::Mapped)
            .collect();
        if !region.flags.contains(RegionFlags::MMAP) {
            ensure!(mapped.is_empty(), "BAR{index}: {mapped:?}");
            continue;
        }
        ensure!(region.size.is_power_of_two(), "BAR{index}: {}", region.size);
        // Both kernels let the MSI-X table be mapped: no BAR has holes.
        let [whole] = mapped.as_slice() else {
            bail!("BAR{index}: {mapped:?}");
        };
        ensure!(
            (whole.offset, whole.size) == (0, region.size),
            "BAR{index}: {whole:?}"
        );
        let both = RegionFlags::READ | RegionFlags::WRITE;
        ensure!(region.flags.contains(both), "BAR{index}: {}", region.flags);
        let bar = opened
            .map::<CanReadWrite>(&region, 0)
            .with_context(|| format!("BAR{index}"))?;
        ensure!(u64::try_from(bar.len())? == region.size, "{}", bar.len());
        bars.push((index, bar));
    }
    for index in [pci_irq::MSI, pci_irq::MSIX] {
        opened.irq(index)?;
    }
    Ok(bars)
}

/// Checks that a BAR of 256 bytes is mapped, and no more of it is in reach.
fn sub_page(bars: &mut [MappedBar<'_>]) -> Result<()> {
    let (_, bar) = bars
        .iter_mut()
        .find(|(index, _)| *index == pci_region::BAR0)
        .context("BAR0 is not mapped")?;
    ensure!(bar.len() == 256, "BAR0 has {} bytes", bar.len());
    ensure!(bar.read::<u32>(0)? == 0, "an interrupt is not masked");
    ensure!(bar.read::<u32>(252).is_ok(), "the end is out of reach");
    ensure!(bar.read::<u32>(256).is_err(), "what follows is in reach");
    Ok(())
}

/// Checks that the ranges of IOVAs are told with ever more room, and make sense.
pub(crate) fn iova_ranges(_: &World, device: &Device, mode: Mode) -> Result<String> {
    let (space, _opened) = mode.open(device)?;
    match &space {
        AddressSpace::Container(container) | AddressSpace::NoIommu(container) => {
            let mut least = [0; 24];
            match container.iommu_info(&mut least) {
                Err(QueryError::TooSmall { needed, .. }) => {
                    let mut buffer = vec![0; usize::try_from(needed)?];
                    let info = container.iommu_info(buffer.as_mut_slice())?;
                    ensure!(info.iova_ranges().is_some(), "no IOVA ranges");
                }
                other => bail!("in 24 bytes: {other:?}"),
            }
        }
        AddressSpace::Ioas(ioas) => {
            let none = ioas.iova_ranges(&mut []);
            ensure!(none == Err(Errno::EMSGSIZE), "with no room: {none:?}");
        }
    }
    Ok(format!("{:x?}", ranges(&space)?))
}

/// Checks that the first free address is given out, and one that is aligned to the size on request.
pub(crate) fn iova_allocator(_: &World, device: &Device, mode: Mode) -> Result<String> {
    let (space, _opened) = mode.open(device)?;
    let ranges = ranges(&space)?;
    let (first, _) = *ranges.first().context("no range")?;
    // The first page is only for who asks for it.
    let (lowest, first) = (first, first.max(PAGE));
    let told = ranges.iter().map(|&(start, end)| IovaRange { start, end });
    let mut iovas = IovaAllocator::<64>::new(told, PAGE, None)?;
    let aligned = [1, 4, 2].map(|pages| iovas.allocate_aligned(pages * PAGE, pages * PAGE));
    let [four, two] = [4, 2].map(|pages| (first + PAGE).next_multiple_of(pages * PAGE));
    ensure!(aligned == [Ok(first), Ok(four), Ok(two)], "{aligned:x?}");

    let dma = Dma::<_, 64>::new(Linux, space)?;
    let page = usize::try_from(PAGE)?;
    let one = dma.buffer(page, Direction::Both)?;
    let four = dma.buffer(4 * page, Direction::Both)?;
    ensure!(one.iova() == first, "{:#x}", one.iova());
    ensure!(four.iova() == first + PAGE, "{:#x}", four.iova());
    one.unmap()?;
    let again = dma.buffer(page, Direction::Both)?;
    ensure!(again.iova() == first, "{:#x}", again.iova());
    if lowest == 0 {
        let zero = dma.buffer(page, BufferOptions::new(Direction::Both).at(0))?;
        ensure!(zero.iova() == 0, "{:#x}", zero.iova());
    }
    Ok(format!("from {first:#x} on"))
}
