//! Is a BAR given to the IOMMU as a dma-buf?

use std::ffi::CString;

use anyhow::{Result, anyhow, ensure};
use vfio_core::device::dma_buf::DmaBufError;
use vfio_core::device::feature::FeatureError;
use vfio_core::open::iommufd::Ioas;
use vfio_core::pci::{Command, Config, DeviceConfig};
use vfio_core::sys::Errno;
use vfio_core::wire::abi::{FeatureId, IoasMapFlags, RegionDmaRange, pci_region};
use vfio_hosted::linux::Linux;

use super::hardware::open;
use crate::report::NotRun;
use crate::world::{World, cdev};

/// The size of a page, in bytes.
const PAGE: u64 = 4096;
/// Where the BAR is mapped.
const IOVA: u64 = 16 << 20;

/// Checks that a part of a BAR is exported, and mapped by its file.
pub(crate) fn export(world: &World) -> Result<String> {
    let device = world.named("vga")?;
    let mut buffer = [0; 256];
    let pages = |offset: u64, count: u64| RegionDmaRange {
        offset: offset * PAGE,
        length: count * PAGE,
    };
    {
        let (_container, opened) = open(device)?;
        if !opened.probe_feature(FeatureId::DMA_BUF)?.get {
            let answer = opened.dma_buf(pci_region::BAR0, &[pages(0, 1)], &mut buffer);
            let missing = DmaBufError::Feature(FeatureError::Missing(FeatureId::DMA_BUF));
            ensure!(
                answer.as_ref().err() == Some(&missing),
                "no such feature: {answer:?}"
            );
            return Err(NotRun("this kernel exports no BAR".into()).into());
        }
    }
    let path = CString::new(cdev(device)?)?;
    let ioas = Ioas::open(Linux)?;
    let opened = ioas.attach(&path)?;
    let mut config = Config::new(DeviceConfig::ask(&opened, &mut buffer)?);
    let command = config.command().map_err(|error| anyhow!("{error}"))?;
    config
        .set_command(command | Command::MEMORY)
        .map_err(|error| anyhow!("{error}"))?;

    let bar = opened.dma_buf(pci_region::BAR0, &[pages(0, 4)], &mut buffer)?;
    let both = IoasMapFlags::READABLE | IoasMapFlags::WRITEABLE;
    ioas.map_dma_buf(&bar, 0, 2 * PAGE, IOVA, both)?;
    let again = ioas.map_dma_buf(&bar, 0, PAGE, IOVA, both);
    ensure!(again == Err(Errno::EEXIST), "mapped over itself: {again:?}");
    let past = ioas.map_dma_buf(&bar, 3 * PAGE, 2 * PAGE, IOVA + 16 * PAGE, both);
    ensure!(past.is_err(), "past the end of the dma-buf: {past:?}");
    let unmapped = ioas.unmap(IOVA, 2 * PAGE)?;
    ensure!(unmapped == 2 * PAGE, "{unmapped} bytes unmapped");

    // Parts of a region can be put together.
    let parts = [pages(8, 1), pages(2, 1)];
    drop(opened.dma_buf(pci_region::BAR0, &parts, &mut buffer)?);
    let short = opened.dma_buf(pci_region::BAR0, &parts, &mut buffer[..55]);
    ensure!(
        short.as_ref().err() == Some(&DmaBufError::TooSmall { needed: 56 }),
        "{short:?}"
    );
    let refused = DmaBufError::Feature(FeatureError::Refused {
        feature: FeatureId::DMA_BUF,
        errno: Errno::EINVAL,
    });
    let empty = opened.dma_buf(pci_region::BAR0, &[], &mut buffer);
    ensure!(
        empty.as_ref().err() == Some(&refused),
        "no range: {empty:?}"
    );
    let odd = RegionDmaRange {
        offset: 1,
        length: PAGE,
    };
    let odd = opened.dma_buf(pci_region::BAR0, &[odd], &mut buffer);
    ensure!(odd.as_ref().err() == Some(&refused), "half a page: {odd:?}");
    Ok(format!("{past:?} past its end"))
}
