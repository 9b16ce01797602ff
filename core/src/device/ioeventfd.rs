//! Writes that the kernel makes when an event is signalled (`VFIO_DEVICE_IOEVENTFD`,
//! linux/vfio.h, since Linux 4.17).

#![forbid(unsafe_code)]

use core::fmt;

use crate::device::{Device, DeviceHandle};
use crate::mmio::Width;
use crate::sys::{self, Errno, Exchange, Sys};
use crate::wire::abi::{DeviceIoeventfd, IoeventfdFlags};
use crate::wire::info::RegionInfo;

/// A write to a register whenever an event is signalled; taken away on drop.
pub struct Ioeventfd<D: DeviceHandle> {
    device: D,
    request: DeviceIoeventfd,
    is_set: bool,
}

/// Why the kernel does not make a write when an event is signalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum IoeventfdError {
    /// The register is not in the region.
    OutOfBounds {
        /// Where it starts, in bytes from the start of the region.
        at: u64,
        /// The length of the region in bytes.
        size: u64,
    },
    /// The register does not lie at a multiple of its width, and the kernel does not look.
    Misaligned {
        /// Where it starts, in bytes from the start of the region.
        at: u64,
        /// Its width in bytes.
        width: u64,
    },
    /// The kernel refuses: `EINVAL` for a region that is no BAR and for the MSI-X table, `EEXIST` where the same write is there, `ENOSPC` for too many (vfio-pci
    /// has 1000), `ENODEV` for one that is not there, `ENOTTY` where the device has none.
    Errno(Errno),
}

impl<S: Sys> Device<S> {
    /// Makes the kernel write `value` at byte `at` of `region` whenever `event` is signalled.
    /// `value` has 8, 16, 32 or 64 bits.
    ///
    /// # Errors
    /// [`IoeventfdError`]
    pub fn ioeventfd<T: Width>(
        &self,
        region: &RegionInfo<'_>,
        at: u64,
        value: T,
        event: &S::Event,
    ) -> Result<Ioeventfd<&Self>, IoeventfdError> {
        Ioeventfd::new(self, region, at, value, event)
    }
}

impl<D: DeviceHandle> Ioeventfd<D> {
    /// Makes the kernel write a register whenever `event` is signalled, as [`Device::ioeventfd`]
    /// does, and keeps the handle.
    ///
    /// # Errors
    /// [`IoeventfdError`]
    pub fn new<T: Width>(
        device: D,
        region: &RegionInfo<'_>,
        at: u64,
        value: T,
        event: &<D::Sys as Sys>::Event,
    ) -> Result<Self, IoeventfdError> {
        let size = region.size;
        let width = 1_u64 << T::SHIFT;
        at.checked_add(width)
            .filter(|end| *end <= size)
            .ok_or(IoeventfdError::OutOfBounds { at, size })?;
        if !at.is_multiple_of(width) {
            return Err(IoeventfdError::Misaligned { at, width });
        }
        let offset = region.offset.checked_add(at);
        let mut ioeventfd = Self {
            device,
            request: DeviceIoeventfd {
                flags: IoeventfdFlags::from_bits_retain(1 << T::SHIFT),
                offset: offset.ok_or(IoeventfdError::OutOfBounds { at, size })?,
                data: value.widen(),
                ..Default::default()
            },
            is_set: false,
        };
        ioeventfd.send(Some(event))?;
        ioeventfd.is_set = true;
        Ok(ioeventfd)
    }

    /// Takes the write away, as dropping does, and tells how that went.
    ///
    /// # Errors
    /// [`IoeventfdError::Errno`]
    pub fn remove(mut self) -> Result<(), IoeventfdError> {
        self.release()
    }

    fn release(&mut self) -> Result<(), IoeventfdError> {
        if core::mem::take(&mut self.is_set) {
            self.send(None)
        } else {
            Ok(())
        }
    }

    fn send(&mut self, event: Option<&<D::Sys as Sys>::Event>) -> Result<(), IoeventfdError> {
        let event = [event];
        let exchange = Exchange::ioeventfd(&mut self.request, &event);
        sys::send(self.device.sys(), self.device.fd(), exchange).map_err(IoeventfdError::Errno)
    }
}

impl<D: DeviceHandle> Drop for Ioeventfd<D> {
    fn drop(&mut self) {
        // Closing the device takes it away as well; nothing more can be done here.
        let _ = self.release();
    }
}

impl<D: DeviceHandle> fmt::Debug for Ioeventfd<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ioeventfd")
            .field("request", &self.request)
            .field("is_set", &self.is_set)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for IoeventfdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfBounds { at, size } => {
                write!(f, "no register at {at:#x} of a region of {size:#x} bytes")
            }
            Self::Misaligned { at, width } => {
                write!(f, "a register of {width} bytes at {at:#x}, off its width")
            }
            Self::Errno(errno) => write!(f, "no write by the kernel: {errno}"),
        }
    }
}

impl core::error::Error for IoeventfdError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::OutOfBounds { .. } | Self::Misaligned { .. } => None,
            Self::Errno(errno) => Some(errno),
        }
    }
}

#[cfg(feature = "defmt")]
impl<D: DeviceHandle> defmt::Format for Ioeventfd<D> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Ioeventfd({})", self.request);
    }
}
