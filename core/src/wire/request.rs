//! The INFO requests, and the head of the buffer that each of them fills.

use super::abi::ioctl;
use super::errno::Errno;

/// A request that fills a structure whose first `u32`, argsz, bounds what the kernel writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum InfoRequest {
    /// `VFIO_GROUP_GET_STATUS`, on a group.
    GroupStatus,
    /// `VFIO_IOMMU_GET_INFO`, on a container.
    Iommu,
    /// `VFIO_DEVICE_GET_INFO`, on a device.
    Device,
    /// `VFIO_DEVICE_GET_REGION_INFO`, on a device.
    Region,
    /// `VFIO_DEVICE_GET_IRQ_INFO`, on a device.
    Irq,
    /// `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO`, on a device.
    PciHotReset,
}

impl InfoRequest {
    /// Returns the request's number (linux/vfio.h), and the bytes of its structure that the kernel
    /// reads.
    #[inline]
    const fn row(self) -> (u32, usize) {
        match self {
            Self::GroupStatus => (ioctl::group::GET_STATUS, 8),
            Self::Iommu => (ioctl::container::IOMMU_GET_INFO, 16),
            Self::Device => (ioctl::device::GET_INFO, 16),
            Self::Region => (ioctl::device::GET_REGION_INFO, 32),
            Self::Irq => (ioctl::device::GET_IRQ_INFO, 16),
            // 12 on a device; a container takes the number for that of its IOMMU.
            Self::PciHotReset => (ioctl::device::GET_PCI_HOT_RESET_INFO, 16),
        }
    }

    /// Returns the request's number.
    #[inline]
    #[must_use]
    pub const fn number(self) -> u32 {
        self.row().0
    }

    /// Returns how many bytes of the structure the kernel reads, whatever argsz says. That holds
    /// for every kind of VFIO file, and is no more than [`InfoRequest::LEAST_MAX`].
    #[inline]
    #[must_use]
    pub const fn least(self) -> usize {
        self.row().1
    }

    /// The most that [`InfoRequest::least`] says.
    pub const LEAST_MAX: usize = Self::Region.least();
}

/// Stores the length of `reply`, cut to `u32::MAX`, in its first four bytes: argsz.
///
/// # Errors
/// `EINVAL` where `reply` is shorter than that.
#[inline]
pub fn put_argsz(reply: &mut [u8]) -> Result<(), Errno> {
    let len = u32::try_from(reply.len()).unwrap_or(u32::MAX);
    match reply.first_chunk_mut::<4>() {
        Some(argsz) => {
            *argsz = len.to_ne_bytes();
            Ok(())
        }
        None => Err(Errno::EINVAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_kernels_numbers_and_lengths() {
        // `_IO(';', 100 + n)` of linux/vfio.h, and the length up to the last member that is read.
        for (request, n, least) in [
            (InfoRequest::GroupStatus, 3, 8),
            (InfoRequest::Iommu, 12, 16),
            (InfoRequest::Device, 7, 16),
            (InfoRequest::Region, 8, 32),
            (InfoRequest::Irq, 9, 16),
            (InfoRequest::PciHotReset, 12, 16),
        ] {
            let number = u32::from(b';') << 8 | (100 + n);
            assert_eq!((request.number(), request.least()), (number, least));
            assert!(least <= InfoRequest::LEAST_MAX);
        }
    }
}
