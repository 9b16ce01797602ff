//! Which memory devices write: the tracking of a container, and the log of a device.

use core::mem::ManuallyDrop;

use anyhow::{Result, anyhow, ensure};
use vfio_core::device::Device;
use vfio_core::device::feature::FeatureError;
use vfio_core::open::container::Container;
use vfio_core::sys::PageRange;
use vfio_core::sys::{self, Errno, Sys};
use vfio_core::wire::abi::{DeviceFeatureDmaLoggingRange, DmaMapFlags, FeatureId};
use vfio_core::wire::caps::IommuCap;

/// The size of a page, in bytes.
const PAGE: u64 = 4096;
/// Where memory is mapped.
const IOVA: u64 = 16 << 20;
/// How much of it, in pages.
const COUNT: u64 = 70;

/// Checks that what is mapped counts as written, and what is not does not. The container is VFIO's
/// own, of type1v2, and has a device that does not tell what it writes.
///
/// # Errors
/// What a call returns, and what does not hold.
pub fn container<S: Sys>(sys: &S, container: &Container<S>) -> Result<String> {
    let mut buffer = [0; 512];
    let info = container.iommu_info(&mut buffer)?;
    let tracked = info.caps.iter().find_map(|cap| match cap {
        IommuCap::Migration {
            max_dirty_bitmap_size,
            ..
        } => Some(max_dirty_bitmap_size),
        _ => None,
    });
    ensure!(tracked.is_some(), "the container does not track");

    let len = usize::try_from(COUNT * PAGE)?;
    // Where anything fails it stays mapped, and is never freed.
    let memory = ManuallyDrop::new(sys.memory(len, sys::Pages::Ordinary)?);
    let both = DmaMapFlags::READ | DmaMapFlags::WRITE;
    // SAFETY: the memory is freed below, after it was unmapped, and nowhere else.
    unsafe { container.map(&memory, 0..len, IOVA, both) }?;
    let all = PageRange {
        iova: IOVA,
        size: COUNT * PAGE,
        page: PAGE,
    };
    let mut bitmap = [0_u64; 2];
    let early = container.dirty_pages(all, &mut bitmap);
    ensure!(early == Err(Errno::EINVAL), "not tracked yet: {early:?}");

    container.start_dirty_tracking()?;
    container.start_dirty_tracking()?;
    container.dirty_pages(all, &mut bitmap)?;
    ensure!(
        bitmap == [u64::MAX, (1 << (COUNT - 64)) - 1],
        "the bitmap is {bitmap:x?}"
    );
    // Memory that is not mapped is not written.
    let beside = PageRange {
        iova: IOVA + 256 * PAGE,
        ..all
    };
    let mut clean = [0_u64; 2];
    container.dirty_pages(beside, &mut clean)?;
    ensure!(clean == [0; 2], "the bitmap is {clean:x?}");

    for (name, pages) in [
        ("half a mapping", PageRange { size: PAGE, ..all }),
        (
            "pages of another size",
            PageRange {
                page: 2 * PAGE,
                ..all
            },
        ),
        (
            "more pages than bits",
            PageRange {
                size: 129 * PAGE,
                ..all
            },
        ),
    ] {
        let answer = container.dirty_pages(pages, &mut bitmap);
        ensure!(answer == Err(Errno::EINVAL), "{name}: {answer:?}");
    }
    let part = container.unmap_dirty(PageRange { size: PAGE, ..all }, &mut bitmap);
    ensure!(part == Err(Errno::EINVAL), "unmapped in part: {part:?}");
    let mut last = [0_u64; 2];
    ensure!(
        container.unmap_dirty(all, &mut last)? == COUNT * PAGE,
        "not all was unmapped"
    );
    drop(ManuallyDrop::into_inner(memory));
    ensure!(
        last == [u64::MAX, (1 << (COUNT - 64)) - 1],
        "the last bitmap is {last:x?}"
    );
    container.stop_dirty_tracking()?;
    let late = container.dirty_pages(all, &mut bitmap);
    ensure!(late == Err(Errno::EINVAL), "no longer tracked: {late:?}");
    let unmapped = container.unmap_dirty(all, &mut bitmap);
    ensure!(
        unmapped == Err(Errno::EINVAL),
        "unmapped and not tracked: {unmapped:?}"
    );
    tracked
        .map(|max| format!("up to {max} bytes of bitmap"))
        .ok_or_else(|| anyhow!("the container does not track"))
}

/// Checks that a device that does not log refuses each request by its name.
///
/// # Errors
/// What does not hold.
pub fn missing<S: Sys>(opened: &Device<S>) -> Result<String> {
    let mut ranges = [DeviceFeatureDmaLoggingRange {
        iova: IOVA,
        length: PAGE,
    }];
    let pages = PageRange {
        iova: IOVA,
        size: PAGE,
        page: PAGE,
    };
    let mut bitmap = [0];
    for (feature, answer) in [
        (
            FeatureId::DMA_LOGGING_START,
            opened.start_dma_logging(PAGE, &mut ranges),
        ),
        (
            FeatureId::DMA_LOGGING_REPORT,
            opened.dma_log(pages, &mut bitmap),
        ),
        (FeatureId::DMA_LOGGING_STOP, opened.stop_dma_logging()),
    ] {
        ensure!(
            answer == Err(FeatureError::Missing(feature)),
            "{feature}: {answer:?}"
        );
    }
    let short = opened.dma_log(
        PageRange {
            size: 65 * PAGE,
            ..pages
        },
        &mut bitmap,
    );
    let refused = FeatureError::Refused {
        feature: FeatureId::DMA_LOGGING_REPORT,
        errno: Errno::EINVAL,
    };
    ensure!(short == Err(refused), "a short bitmap: {short:?}");
    Ok("no log".into())
}

/// Checks that the sample `mtty` logs, and writes nothing.
///
/// # Errors
/// What a call returns, and what does not hold.
pub fn logged<S: Sys>(opened: &Device<S>) -> Result<String> {
    let mut ranges = [
        DeviceFeatureDmaLoggingRange {
            iova: IOVA,
            length: COUNT * PAGE,
        },
        DeviceFeatureDmaLoggingRange {
            iova: 0,
            length: PAGE,
        },
    ];
    let refused = |feature, errno| Err(FeatureError::Refused { feature, errno });
    let start = FeatureId::DMA_LOGGING_START;
    let none = opened.start_dma_logging(PAGE, &mut []);
    ensure!(none == refused(start, Errno::EINVAL), "no range: {none:?}");
    let odd = opened.start_dma_logging(2 * PAGE, &mut ranges);
    ensure!(odd == refused(start, Errno::EINVAL), "half a page: {odd:?}");
    let mut twice = [ranges[0]; 2];
    let twice = opened.start_dma_logging(PAGE, &mut twice);
    ensure!(twice == refused(start, Errno::EINVAL), "twice: {twice:?}");
    let mut past = [DeviceFeatureDmaLoggingRange {
        iova: u64::MAX - PAGE + 1,
        length: 2 * PAGE,
    }];
    let past = opened.start_dma_logging(PAGE, &mut past);
    ensure!(
        past == refused(start, Errno::EOVERFLOW),
        "past 2^64: {past:?}"
    );
    let mut many = vec![ranges[0]; 257];
    let many = opened.start_dma_logging(PAGE, &mut many);
    ensure!(many == refused(start, Errno::E2BIG), "too many: {many:?}");

    opened.start_dma_logging(PAGE, &mut ranges)?;
    let pages = PageRange {
        iova: IOVA,
        size: COUNT * PAGE,
        page: PAGE,
    };
    let mut bitmap = [1_u64, 0];
    opened.dma_log(pages, &mut bitmap)?;
    ensure!(bitmap == [1, 0], "what was set is lost: {bitmap:x?}");
    let small = opened.dma_log(
        PageRange {
            page: 2048,
            ..pages
        },
        &mut [0; 4],
    );
    ensure!(
        small == refused(FeatureId::DMA_LOGGING_REPORT, Errno::EINVAL),
        "pages of 2 KiB: {small:?}"
    );
    opened.stop_dma_logging()?;
    opened.stop_dma_logging()?;
    Ok("nothing was written".into())
}
