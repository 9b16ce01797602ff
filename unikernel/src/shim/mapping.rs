//! BARs in reach of register accesses.

use core::ops::Range;
use core::ptr::NonNull;

use vfio_core::mmio::{Forward, Mapped};
use vfio_core::sys::{Errno, Protection};

use crate::paging::{self, Kind};
use crate::pci::NoError;
use crate::registers;

/// A stretch of a BAR. It is mapped for as long as the image runs.
#[derive(Debug)]
pub struct Mapping {
    registers: Mapped<'static>,
}

impl Mapping {
    /// Maps the registers at `range` (bytes), which must be a device's and start at a multiple of 8.
    ///
    /// What may not be read or written is so by the types alone: there is one address space.
    pub(super) fn new(range: Range<u64>, protection: Protection) -> Result<Self, Errno> {
        if !protection.read && !protection.write {
            return Err(Errno::EACCES);
        }
        let image = paging::image();
        if range.is_empty()
            || !range.start.is_multiple_of(8)
            || range.start < image.end && image.start < range.end
        {
            return Err(Errno::EINVAL);
        }
        paging::map(range.clone(), Kind::Device).map_err(|error| {
            defmt::error!("registers can't be mapped: {}", error);
            Errno::ENOMEM
        })?;
        let at = |at| usize::try_from(at).map_err(|_| Errno::EINVAL);
        let base = core::ptr::with_exposed_provenance_mut(at(range.start)?);
        let base = NonNull::new(base).ok_or(Errno::EINVAL)?;
        let len = at(range.end)?.saturating_sub(at(range.start)?);
        // SAFETY: the bytes are mapped for ever, to be read and written, and none is the image's:
        // the registers of a device are not Rust's. The first is at a multiple of 8.
        let registers = unsafe { Mapped::new(base, len, protection) };
        Ok(Self { registers })
    }

    /// Returns reads, or writes `value`, in one access of `width` bytes (1, 2, 4 or 8) at an
    /// address of a device's. The address is a multiple of `width`. Returns what was read.
    pub(crate) fn transfer(address: u64, width: usize, value: Option<u64>) -> Result<u64, Errno> {
        let start = address & !7;
        let mapping = Self::new(start..start.saturating_add(8), Protection::BOTH)?;
        let at = usize::try_from(address & 7).unwrap_or(0);
        registers::mapped(&mapping.registers, at, width, value).ok_or(Errno::EFAULT)
    }
}

// SAFETY: what reaches the registers is never changed for another.
unsafe impl Forward for Mapping {
    type Target = Mapped<'static>;
    type Error = NoError;

    #[inline]
    fn target(&self) -> &Mapped<'static> {
        &self.registers
    }
}
