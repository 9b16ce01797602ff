//! Requests that name a list of ranges or a bitmap of dirty pages.

use core::mem::size_of;

use zerocopy::IntoBytes;

use super::exchange::fill;
use super::opening::feature;
use super::{Errno, Exchange, ExchangeRequest};
use crate::wire::abi::{
    Bitmap, DeviceFeature, DeviceFeatureDmaLoggingControl, DeviceFeatureDmaLoggingRange,
    DeviceFeatureDmaLoggingReport, DirtyPagesFlags, DmaUnmapFlags, FeatureFlags, FeatureId,
    IommuType1DirtyBitmap, IommuType1DirtyBitmapGet, IommuType1DmaUnmap,
};

/// Bytes of a request to unmap memory and get its dirty pages.
pub const UNMAP_DIRTY_LEN: usize = size_of::<IommuType1DmaUnmap>() + size_of::<Bitmap>();

/// Bytes of a request for the dirty pages of a container.
pub const DIRTY_BITMAP_LEN: usize =
    size_of::<IommuType1DirtyBitmap>() + size_of::<IommuType1DirtyBitmapGet>();

/// Bytes of a request to log what a device writes.
pub const DMA_LOGGING_START_LEN: usize =
    size_of::<DeviceFeature>() + size_of::<DeviceFeatureDmaLoggingControl>();

/// Bytes of a request for what was logged.
pub const DMA_LOGGING_REPORT_LEN: usize =
    size_of::<DeviceFeature>() + size_of::<DeviceFeatureDmaLoggingReport>();

/// A stretch of addresses, cut into pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PageRange {
    /// The first address, a multiple of the size of a page.
    pub iova: u64,
    /// The length in bytes, a multiple of the size of a page.
    pub size: u64,
    /// The size of a page in bytes, a power of two.
    pub page: u64,
}

impl<'a, F, E> Exchange<'a, F, E> {
    /// Makes `VFIO_IOMMU_DIRTY_PAGES` for `pages` in `buffer`. `bitmap` gets a bit for each page.
    ///
    /// # Errors
    /// `EINVAL` where the pages' size is no power of two, where `pages` is not whole pages, and
    /// where `bitmap` is too short.
    pub fn dirty_bitmap(
        buffer: &'a mut [u8; DIRTY_BITMAP_LEN],
        pages: PageRange,
        bitmap: &'a mut [u64],
    ) -> Result<Self, Errno> {
        pages.check(bitmap.len())?;
        let bitmap = bitmap.as_mut_bytes();
        let get = IommuType1DirtyBitmapGet {
            iova: pages.iova,
            size: pages.size,
            bitmap: place(pages.page, bitmap)?,
        };
        let head = IommuType1DirtyBitmap {
            flags: DirtyPagesFlags::GET_BITMAP,
            ..Default::default()
        };
        fill(buffer, [head.as_bytes(), get.as_bytes()]);
        Ok(Self {
            list: Some(bitmap),
            ..Self::whole(ExchangeRequest::DirtyBitmap, buffer)
        })
    }

    /// Makes `VFIO_IOMMU_UNMAP_DMA` of `pages` in `buffer`. `bitmap` gets a bit for each page.
    /// Mappings can't reach out of the range, and so out
    /// of the bitmap: the kernel tracks with type1v2 only, which refuses to cut a mapping.
    ///
    /// # Errors
    /// As [`Exchange::dirty_bitmap`].
    pub fn unmap_dirty(
        buffer: &'a mut [u8; UNMAP_DIRTY_LEN],
        pages: PageRange,
        bitmap: &'a mut [u64],
    ) -> Result<Self, Errno> {
        pages.check(bitmap.len())?;
        let bitmap = bitmap.as_mut_bytes();
        let unmap = IommuType1DmaUnmap {
            flags: DmaUnmapFlags::GET_DIRTY_BITMAP,
            iova: pages.iova,
            size: pages.size,
            ..Default::default()
        };
        fill(
            buffer,
            [unmap.as_bytes(), place(pages.page, bitmap)?.as_bytes()],
        );
        Ok(Self {
            list: Some(bitmap),
            ..Self::whole(ExchangeRequest::UnmapDirty, buffer)
        })
    }

    /// Makes `VFIO_DEVICE_FEATURE` that sets `DMA_LOGGING_START` for `ranges`, in `buffer`. `page`
    /// is the granularity in bytes that is wanted, 0 for the device's own.
    ///
    /// # Errors
    /// `EINVAL` for more ranges than 32 bits count.
    pub fn dma_logging_start(
        buffer: &'a mut [u8; DMA_LOGGING_START_LEN],
        page: u64,
        ranges: &'a mut [DeviceFeatureDmaLoggingRange],
    ) -> Result<Self, Errno> {
        let control = DeviceFeatureDmaLoggingControl {
            page_size: page,
            num_ranges: u32::try_from(ranges.len()).map_err(|_| Errno::EINVAL)?,
            ..Default::default()
        };
        let head = feature(FeatureFlags::SET, FeatureId::DMA_LOGGING_START);
        fill(buffer, [head.as_bytes(), control.as_bytes()]);
        Ok(Self {
            list: Some(ranges.as_mut_bytes()),
            ..Self::whole(ExchangeRequest::DmaLoggingStart, buffer)
        })
    }

    /// Makes `VFIO_DEVICE_FEATURE` that gets `DMA_LOGGING_REPORT` for `pages` in `buffer`.
    /// `bitmap` gets a bit for each page.
    ///
    /// # Errors
    /// As [`Exchange::dirty_bitmap`].
    pub fn dma_logging_report(
        buffer: &'a mut [u8; DMA_LOGGING_REPORT_LEN],
        pages: PageRange,
        bitmap: &'a mut [u64],
    ) -> Result<Self, Errno> {
        pages.check(bitmap.len())?;
        let report = DeviceFeatureDmaLoggingReport {
            iova: pages.iova,
            length: pages.size,
            page_size: pages.page,
            ..Default::default()
        };
        let head = feature(FeatureFlags::GET, FeatureId::DMA_LOGGING_REPORT);
        fill(buffer, [head.as_bytes(), report.as_bytes()]);
        Ok(Self {
            list: Some(bitmap.as_mut_bytes()),
            ..Self::whole(ExchangeRequest::DmaLoggingReport, buffer)
        })
    }
}

impl PageRange {
    /// Checks that it is whole pages, and that `words` words of 64 bits hold a bit for each.
    fn check(self, words: usize) -> Result<(), Errno> {
        let Self { iova, size, page } = self;
        let bits = u64::try_from(words)
            .unwrap_or(u64::MAX)
            .saturating_mul(u64::BITS.into());
        let is_whole = page.is_power_of_two()
            && iova.is_multiple_of(page)
            && size.is_multiple_of(page)
            && size.checked_div(page).is_some_and(|pages| pages <= bits);
        if is_whole { Ok(()) } else { Err(Errno::EINVAL) }
    }
}

/// Returns where a bitmap goes, but for its address.
fn place(page: u64, bitmap: &[u8]) -> Result<Bitmap, Errno> {
    Ok(Bitmap {
        pgsize: page,
        size: u64::try_from(bitmap.len()).map_err(|_| Errno::EINVAL)?,
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Plain<'a> = Exchange<'a>;

    #[test]
    fn a_bitmap_has_a_bit_for_each_page() {
        let mut bitmap = [0; 2];
        let mut check = |iova, size, page| {
            let pages = PageRange { iova, size, page };
            let mut a = [0; DIRTY_BITMAP_LEN];
            let mut b = [0; DMA_LOGGING_REPORT_LEN];
            let a = Plain::dirty_bitmap(&mut a, pages, &mut bitmap).is_ok();
            let b = Plain::dma_logging_report(&mut b, pages, &mut bitmap).is_ok();
            let mut c = [0; UNMAP_DIRTY_LEN];
            let c = Plain::unmap_dirty(&mut c, pages, &mut bitmap).is_ok();
            assert_eq!((a, a), (b, c));
            a
        };
        assert!(check(0x1000, 128 * 0x1000, 0x1000));
        assert!(!check(0x1000, 129 * 0x1000, 0x1000));
        assert!(!check(0x800, 0x1000, 0x1000));
        assert!(!check(0, 0x800, 0x1000));
        assert!(!check(0, 0x1000, 0));
        assert!(!check(0, 0x3000, 0x3000));
    }

    #[test]
    fn the_pointer_is_the_lists() {
        let mut bitmap = [0; 1];
        let pages = PageRange {
            iova: 0,
            size: 4096,
            page: 4096,
        };
        let mut buffer = [0; DIRTY_BITMAP_LEN];
        let exchange = Plain::dirty_bitmap(&mut buffer, pages, &mut bitmap).unwrap();
        let mut parts = exchange.into_parts();
        assert_eq!(parts.list.as_ref().map(|list| list.len()), Some(8));
        parts.point(0x1000, 0).unwrap();
        assert_eq!(parts.argument[32..40], 8_u64.to_ne_bytes());
        assert_eq!(
            parts.argument[40..40 + size_of::<usize>()],
            0x1000_usize.to_ne_bytes()
        );

        let mut buffer = [0; UNMAP_DIRTY_LEN];
        let exchange = Plain::unmap_dirty(&mut buffer, pages, &mut bitmap).unwrap();
        let mut parts = exchange.into_parts();
        parts.point(0x1000, 0).unwrap();
        assert_eq!(parts.argument[4..8], 1_u32.to_ne_bytes());
        assert_eq!(
            parts.argument[40..40 + size_of::<usize>()],
            0x1000_usize.to_ne_bytes()
        );

        let mut ranges = [DeviceFeatureDmaLoggingRange::default(); 2];
        let mut buffer = [0; DMA_LOGGING_START_LEN];
        let exchange = Plain::dma_logging_start(&mut buffer, 0, &mut ranges).unwrap();
        let mut parts = exchange.into_parts();
        parts.point(0x1000, 0).unwrap();
        assert_eq!(parts.argument[16..20], 2_u32.to_ne_bytes());
        assert_eq!(parts.argument[24..32], 0x1000_u64.to_ne_bytes());
    }
}
