//! A BAR as a dma-buf, which other devices and drivers can use
//! (the feature `DMA_BUF`, linux/vfio.h, since Linux 6.19).

#![forbid(unsafe_code)]

use core::fmt;
use core::mem::size_of;

use crate::device::Device;
use crate::device::feature::FeatureError;
use crate::sys::{DMA_BUF_LEN, Exchange, Sys};
use crate::wire::abi::{FeatureId, RegionDmaRange};

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
    /// Bytes that the buffer needs.
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
    /// Returns a dma-buf of `ranges` of the BAR `index`, one after the other. `buffer` holds the
    /// request: 24 bytes, and 16 for each range.
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

    /// Returns the open file, for what else takes a dma-buf.
    #[must_use]
    pub const fn fd(&self) -> &S::Fd {
        &self.fd
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
