//! An open device.

pub mod coverage;
pub mod dirty;
pub mod display;
pub mod dma_buf;
pub mod feature;
#[cfg(test)]
pub(crate) mod file;
mod handle;
pub mod ioeventfd;
pub mod irq;
pub mod migration;
pub mod region;
pub mod reset;

pub use handle::DeviceHandle;

use core::sync::atomic::{AtomicU32, Ordering};

use crate::query::{self, QueryError, ReplyBuffer};
use crate::sys::{self, Errno, Sys, ValueRequest};
use crate::wire::abi;
use crate::wire::info::{DeviceInfo, HotResetInfo, IrqInfo, RegionInfo};

/// An open device; closed on drop.
///
/// ```
/// use vfio_core::wire::abi::{pci_irq, pci_region};
/// use vfio_core::device::Device;
/// use vfio_core::sys::Sys;
///
/// fn drive<S: Sys>(device: &Device<S>) -> Result<(), Box<dyn std::error::Error>> {
///     let mut reply = [0; 256];
///     let info = device.info(&mut reply)?;
///     println!("{} regions, {} kinds of interrupts", info.num_regions, info.num_irqs);
///     // Decoding and bus mastering are on from here on, and BAR 0 is mapped.
///     let mut bar0 = device.bring_up(pci_region::BAR0)?;
///     let vectors = device.vectors::<1>(pci_irq::MSIX)?;
///     bar0.write::<u32>(0x10, 1)?;
///     let _ = vectors.take(0)?;
///     Ok(())
/// }
/// ```
///
/// What is made of it borrows it here; with an `Arc<Device<S>>` it owns it
/// ([`handle`](crate::handle)).
#[derive(Debug)]
pub struct Device<S: Sys> {
    sys: S,
    fd: S::Fd,
    /// The indexes of interrupts that somebody has, as bits.
    claims: AtomicU32,
}

impl<S: Sys> Device<S> {
    /// Creates a device from its open file.
    pub const fn new(sys: S, fd: S::Fd) -> Self {
        Self {
            sys,
            fd,
            claims: AtomicU32::new(0),
        }
    }

    /// Returns the shim below.
    pub const fn sys(&self) -> &S {
        &self.sys
    }

    /// Returns the open file.
    pub(crate) const fn fd(&self) -> &S::Fd {
        &self.fd
    }

    /// Claims the interrupts of an index for one owner; whether they were free.
    pub(crate) fn claim(&self, index: u32) -> bool {
        let bit = claim_bit(index);
        bit != 0 && self.claims.fetch_or(bit, Ordering::AcqRel) & bit == 0
    }

    /// Gives a claim back.
    pub(crate) fn disclaim(&self, index: u32) {
        self.claims.fetch_and(!claim_bit(index), Ordering::AcqRel);
    }

    /// Asks about the device; [`query::device`].
    ///
    /// # Errors
    /// [`QueryError`]
    #[inline]
    pub fn info<'b, B: ReplyBuffer + ?Sized>(
        &self,
        buffer: &'b mut B,
    ) -> Result<DeviceInfo<'b>, QueryError<abi::DeviceInfo>> {
        query::device(&self.sys, &self.fd, buffer)
    }

    /// Asks about a region; [`query::region`].
    ///
    /// # Errors
    /// [`QueryError`]
    #[inline]
    pub fn region<'b, B: ReplyBuffer + ?Sized>(
        &self,
        index: u32,
        buffer: &'b mut B,
    ) -> Result<RegionInfo<'b>, QueryError<abi::RegionInfo>> {
        query::region(&self.sys, &self.fd, index, buffer)
    }

    /// Asks about an interrupt; [`query::irq`].
    ///
    /// # Errors
    /// [`QueryError`]
    #[inline]
    pub fn irq(&self, index: u32) -> Result<IrqInfo, QueryError<abi::IrqInfo>> {
        query::irq(&self.sys, &self.fd, index)
    }

    /// Asks what a hot reset takes along; [`query::hot_reset`].
    ///
    /// # Errors
    /// [`QueryError`]
    pub fn hot_reset_info<'b, B: ReplyBuffer + ?Sized>(
        &self,
        buffer: &'b mut B,
    ) -> Result<HotResetInfo<'b>, QueryError<abi::PciHotResetInfo>> {
        query::hot_reset(&self.sys, &self.fd, buffer)
    }

    /// Resets the device, if its flags say that it can be (`VFIO_DEVICE_RESET`).
    ///
    /// # Errors
    /// What `ioctl(2)` returns: `EINVAL` where it can't, `EAGAIN` where it can be tried
    /// again.
    pub fn reset(&self) -> Result<(), Errno> {
        self.sys
            .ioctl_value(&self.fd, ValueRequest::Reset, 0)
            .and_then(sys::nothing)
    }

    /// Reads `buf.len()` bytes at `at` of a region that lies at `offset` of the device's file.
    /// Returns how many were read.
    ///
    /// # Errors
    /// What `pread(2)` returns; `EOVERFLOW` where the sum does not fit into 64 bits.
    pub fn read(&self, offset: u64, at: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        let position = offset.checked_add(at).ok_or(Errno::EOVERFLOW)?;
        self.sys.pread(&self.fd, buf, position)
    }

    /// Writes `bytes` at `at` of a region that lies at `offset` of the device's file. Returns how
    /// many were written.
    ///
    /// # Errors
    /// What `pwrite(2)` returns; `EOVERFLOW` where the sum does not fit into 64 bits.
    pub fn write(&self, offset: u64, at: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let position = offset.checked_add(at).ok_or(Errno::EOVERFLOW)?;
        self.sys.pwrite(&self.fd, bytes, position)
    }
}

/// Returns the bit of an index of interrupts. 0 for one that no kernel has.
fn claim_bit(index: u32) -> u32 {
    1_u32.checked_shl(index).unwrap_or(0)
}

#[cfg(feature = "defmt")]
impl<S: Sys> defmt::Format for Device<S> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Device");
    }
}
