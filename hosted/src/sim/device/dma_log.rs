//! The log of what a device writes by DMA (drivers/vfio/vfio_main.c of Linux, and as
//! drivers/vfio/pci/mlx5 has it).

use std::collections::BTreeSet;
use std::vec::Vec;

use vfio_core::sys::Errno;
use vfio_core::wire::abi::{
    DeviceFeatureDmaLoggingControl, DeviceFeatureDmaLoggingRange, DeviceFeatureDmaLoggingReport,
};
use zerocopy::FromBytes;

use super::Device;
use crate::sim::bitmap::set_bits;

/// The smallest pages that can be asked about, in bytes.
const PAGE: u64 = 4096;

/// How many ranges there can be: those that fit into a page.
const MOST_RANGES: usize = 256;

/// What is logged.
#[derive(Default)]
pub(super) struct DmaLog {
    /// The first address and the last of each range, disjoint.
    ranges: Vec<(u64, u64)>,
    /// The pages that were written, by their number.
    written: BTreeSet<u64>,
}

impl DmaLog {
    /// Logs that the device has written `len` bytes at `iova`.
    pub(super) fn write(&mut self, iova: u64, len: usize) {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        let Some(last) = len.checked_sub(1).and_then(|more| iova.checked_add(more)) else {
            return;
        };
        for page in iova / PAGE..=last / PAGE {
            let at = page.saturating_mul(PAGE);
            let end = at.saturating_add(PAGE.saturating_sub(1));
            if self
                .ranges
                .iter()
                .any(|(first, last)| *first <= end && at <= *last)
            {
                self.written.insert(page);
            }
        }
    }

    /// Takes the pages that lie in `first` to `last`.
    fn take(&mut self, first: u64, last: u64) -> Vec<u64> {
        let pages: Vec<u64> = self
            .written
            .range(first / PAGE..=last / PAGE)
            .copied()
            .collect();
        for page in &pages {
            self.written.remove(page);
        }
        pages
    }
}

impl Device {
    pub(super) fn start_dma_log(
        &mut self,
        control: &DeviceFeatureDmaLoggingControl,
        list: &[u8],
    ) -> Result<(), Errno> {
        let count = usize::try_from(control.num_ranges).map_err(|_| Errno::E2BIG)?;
        if count == 0 {
            return Err(Errno::EINVAL);
        }
        if count > MOST_RANGES {
            return Err(Errno::E2BIG);
        }
        let ranges = ranges(control.page_size, list, count)?;
        if self.dma_log.is_some() {
            return Err(Errno::EINVAL);
        }
        self.dma_log = Some(DmaLog {
            ranges,
            written: BTreeSet::new(),
        });
        Ok(())
    }

    pub(super) fn stop_dma_log(&mut self) {
        self.dma_log = None;
    }

    /// Sets the bits of the pages that were written since the last report.
    pub(super) fn report_dma_log(
        &mut self,
        report: &DeviceFeatureDmaLoggingReport,
        bitmap: &mut [u8],
    ) -> Result<(), Errno> {
        if report.page_size < PAGE || !report.page_size.is_power_of_two() {
            return Err(Errno::EINVAL);
        }
        let end = report.iova.checked_add(report.length);
        let end = end.ok_or(Errno::EOVERFLOW)?;
        let log = self.dma_log.as_mut().ok_or(Errno::EINVAL)?;
        let Some(last) = end.checked_sub(1).filter(|last| *last >= report.iova) else {
            return Ok(());
        };
        for page in log.take(report.iova, last) {
            let at = page.saturating_mul(PAGE).saturating_sub(report.iova);
            let bit = at.checked_div(report.page_size).ok_or(Errno::EINVAL)?;
            set_bits(bitmap, bit, 1);
        }
        Ok(())
    }
}

/// Returns the first address and the last of each of `count` ranges, which must not overlap.
fn ranges(page_size: u64, list: &[u8], count: usize) -> Result<Vec<(u64, u64)>, Errno> {
    let mut rest = list;
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for _ in 0..count {
        let (range, tail) =
            DeviceFeatureDmaLoggingRange::read_from_prefix(rest).map_err(|_| Errno::EFAULT)?;
        rest = tail;
        // A size of 0 leaves nothing aligned but 0, in the kernel's arithmetic.
        let bits = page_size.wrapping_sub(1);
        if (range.iova | range.length) & bits != 0 {
            return Err(Errno::EINVAL);
        }
        let end = range.iova.checked_add(range.length);
        let last = end.ok_or(Errno::EOVERFLOW)?.wrapping_sub(1);
        let overlaps = |(first, end): &(u64, u64)| *first <= last && range.iova <= *end;
        if ranges.iter().any(overlaps) {
            return Err(Errno::EINVAL);
        }
        ranges.push((range.iova, last));
    }
    Ok(ranges)
}
