//! What the kernel's own VFIO selftests assert, of `vfio-core` on the kernel that runs.
//!
//! They are five programs; each has a file here, and one is for what they assert whenever they
//! open a device. Each check runs in each mode, where theirs know of modes.

pub(super) mod cdev;
pub(super) mod dma;
pub(super) mod driver;
pub(super) mod init;
pub(super) mod mmio;
pub(super) mod pci;
pub(super) mod setup;
pub(super) mod sriov;

use anyhow::{Context as _, Result, ensure};
use vfio_core::open::AddressSpace;
use vfio_core::open::iommufd::Ioas;
use vfio_core::sys::Errno;
use vfio_hosted::linux::Linux;

/// The size of the guest's pages, in bytes.
const PAGE: u64 = 4096;

/// A range of IOVAs: the first and the last address.
pub(super) type Range = (u64, u64);

/// Returns the ranges of IOVAs that can be mapped: some, sorted, and none within another.
pub(super) fn ranges(space: &AddressSpace<Linux>) -> Result<Vec<Range>> {
    let ranges: Vec<Range> = match space {
        AddressSpace::Container(container) | AddressSpace::NoIommu(container) => {
            let mut buffer = vec![0; 24];
            let info = container.iommu_info(&mut buffer)?;
            let ranges = info.iova_ranges().context("no IOVA ranges")?.into_iter();
            ranges.map(|range| (range.start, range.end)).collect()
        }
        AddressSpace::Ioas(ioas) => of_ioas(ioas)?,
    };
    ensure!(!ranges.is_empty(), "no IOVA range");
    ensure!(
        ranges.iter().all(|(start, last)| start < last),
        "{ranges:x?}"
    );
    ensure!(
        ranges.windows(2).all(|pair| pair[0].1 < pair[1].0),
        "{ranges:x?}"
    );
    Ok(ranges)
}

/// Asks with ever more room, from none.
fn of_ioas(ioas: &Ioas<Linux>) -> Result<Vec<Range>> {
    let mut ranges = Vec::new();
    loop {
        match ioas.iova_ranges(&mut ranges) {
            Ok((count, _)) => {
                ranges.truncate(count);
                return Ok(ranges
                    .iter()
                    .map(|range| (range.start, range.last))
                    .collect());
            }
            Err(Errno::EMSGSIZE) => ranges.resize(ranges.len() + 1, Default::default()),
            Err(errno) => return Err(errno.into()),
        }
    }
}
