//! A BAR as a dma-buf, which other devices and drivers can use
//! (the feature `DMA_BUF`, linux/vfio.h, since Linux 6.19).

#![forbid(unsafe_code)]

use core::fmt;
use core::mem::size_of;

use crate::abi::{FeatureId, IoasMapFlags, IommuIoasMapFile, RegionDmaRange};
use crate::device::Device;
use crate::feature::FeatureError;
use crate::iommufd::Ioas;
use crate::sys::{self, DMA_BUF_LEN, Errno, Exchange, Sys};

/// An open dma-buf; closed on drop. The kernel takes away what it stands for while the device is
/// reset or does not decode its memory, and for good when the device is closed.
#[derive(Debug)]
pub struct DmaBuf<S: Sys> {
    fd: S::Fd,
}

/// Why there is no dma-buf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DmaBufError {
    /// The buffer must have so many bytes.
    TooSmall {
        /// Bytes.
        needed: usize,
    },
    /// The device has no such feature, or refuses: `EINVAL` for no range, for one that is not of
    /// whole pages or not in the region, and for a region that is no BAR of memory.
    Feature(FeatureError),
    /// The kernel opened none.
    None,
}

impl<S: Sys> Device<S> {
    /// A dma-buf of `ranges` of the BAR `index`, one after the other. `buffer` holds the request:
    /// 24 bytes, and 16 for each range.
    ///
    /// # Errors
    /// [`DmaBufError`]
    pub fn dma_buf(
        &self,
        index: u32,
        ranges: &[RegionDmaRange],
        buffer: &mut [u8],
    ) -> Result<DmaBuf<S>, DmaBufError> {
        let needed = ranges
            .len()
            .saturating_mul(size_of::<RegionDmaRange>())
            .saturating_add(DMA_BUF_LEN);
        if buffer.len() < needed {
            return Err(DmaBufError::TooSmall { needed });
        }
        Exchange::dma_buf(buffer, index, ranges)
            .and_then(|exchange| self.sys().exchange_open(self.fd(), exchange))
            .map_err(|errno| DmaBufError::Feature(FeatureError::new(FeatureId::DMA_BUF, errno)))?
            .map(DmaBuf::new)
            .ok_or(DmaBufError::None)
    }
}

impl<S: Sys> DmaBuf<S> {
    pub(crate) const fn new(fd: S::Fd) -> Self {
        Self { fd }
    }

    /// The open file, for what else takes a dma-buf.
    #[must_use]
    pub const fn fd(&self) -> &S::Fd {
        &self.fd
    }
}

impl<S: Sys> Ioas<S> {
    /// Maps `length` bytes from `start` on of a dma-buf at `iova` (`IOMMU_IOAS_MAP_FILE`), so that
    /// devices of the address space reach it. [`Ioas::unmap`] takes it away.
    ///
    /// # Errors
    /// What the kernel returns: `EINVAL` for what is not of whole pages or not in the dma-buf,
    /// `EEXIST` for an overlap, `ENODEV` and the like for a dma-buf of another driver than
    /// vfio-pci.
    pub fn map_dma_buf(
        &self,
        dma_buf: &DmaBuf<S>,
        start: u64,
        length: u64,
        iova: u64,
        flags: IoasMapFlags,
    ) -> Result<(), Errno> {
        let mut map = IommuIoasMapFile {
            flags: flags | IoasMapFlags::FIXED_IOVA,
            ioas_id: self.id(),
            start,
            length,
            iova,
            ..Default::default()
        };
        let file = [&dma_buf.fd];
        sys::send(self.sys(), self.fd(), Exchange::map_file(&mut map, &file))
    }
}

impl fmt::Display for DmaBufError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall { needed } => {
                write!(f, "the request needs a buffer of {needed} bytes")
            }
            Self::Feature(error) => error.fmt(f),
            Self::None => f.write_str("the kernel opened no dma-buf"),
        }
    }
}

impl core::error::Error for DmaBufError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Feature(error) => Some(error),
            Self::TooSmall { .. } | Self::None => None,
        }
    }
}

#[cfg(feature = "defmt")]
impl<S: Sys> defmt::Format for DmaBuf<S> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "DmaBuf");
    }
}
