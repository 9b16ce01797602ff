//! Which memory devices have written: tracked by the IOMMU of a container, or logged by a device.
//!
//! A bitmap is an array of `u64` with a bit for each page, the lowest bit of the first word for
//! the first page.
//!
//! - A type1 container tracks for all of its devices
//!   (`VFIO_IOMMU_DIRTY_PAGES`, linux/vfio.h, since Linux 5.8). Where no device tells what it
//!   writes, every page that is mapped counts as written. iommufd's container does not track.
//! - A device with the feature `DMA_LOGGING_START` logs what it writes itself (since Linux 6.1).

#![forbid(unsafe_code)]

use crate::device::Device;
use crate::device::feature::FeatureError;
use crate::sys::{self, DMA_LOGGING_REPORT_LEN, DMA_LOGGING_START_LEN, Exchange, PageRange, Sys};
use crate::wire::abi::{DeviceFeatureDmaLoggingRange, FeatureId};

impl<S: Sys> Device<S> {
    /// Has the device log what it writes to `ranges`, in pages of about `page` bytes; 0 leaves
    /// their size to the device. The kernel may give other ranges to the device, which contain
    /// these.
    ///
    /// # Errors
    /// [`FeatureError`]
    pub fn start_dma_logging(
        &self,
        page: u64,
        ranges: &mut [DeviceFeatureDmaLoggingRange],
    ) -> Result<(), FeatureError> {
        let mut buffer = [0; DMA_LOGGING_START_LEN];
        Exchange::dma_logging_start(&mut buffer, page, ranges)
            .and_then(|exchange| sys::send(self.sys(), self.fd(), exchange))
            .map_err(|errno| FeatureError::new(FeatureId::DMA_LOGGING_START, errno))
    }

    /// Ends the log.
    ///
    /// # Errors
    /// [`FeatureError`]
    pub fn stop_dma_logging(&self) -> Result<(), FeatureError> {
        self.set_feature(FeatureId::DMA_LOGGING_STOP, &mut [])
    }

    /// Sets the bits of the pages that the device has written since it was last asked; `bitmap`
    /// keeps those that are set.
    ///
    /// # Errors
    /// [`FeatureError`]; `EINVAL` for a `bitmap` that is too short and for pages of less than 4
    /// KiB.
    pub fn dma_log(&self, pages: PageRange, bitmap: &mut [u64]) -> Result<(), FeatureError> {
        let mut buffer = [0; DMA_LOGGING_REPORT_LEN];
        Exchange::dma_logging_report(&mut buffer, pages, bitmap)
            .and_then(|exchange| sys::send(self.sys(), self.fd(), exchange))
            .map_err(|errno| FeatureError::new(FeatureId::DMA_LOGGING_REPORT, errno))
    }
}
