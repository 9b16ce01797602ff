//! Memory that is mapped for a device.

use super::{Direction, Dma, DmaError};
use crate::mmio::{Access, Window};
use crate::sys::{Errno, Sys};

/// Memory that is mapped for a device; unmapped and freed on drop.
///
/// The device may read and write it at any time, so that no reference to it is ever formed: a
/// [`Window`] reads and writes it, volatile, in units of up to 64 bits.
#[derive(Debug)]
pub struct Buffer<'d, S: Sys, const N: usize> {
    dma: &'d Dma<S, N>,
    memory: S::Memory,
    iova: u64,
    size: u64,
    is_mapped: bool,
}

impl<'d, S: Sys, const N: usize> Buffer<'d, S, N> {
    pub(super) fn new(
        dma: &'d Dma<S, N>,
        len: usize,
        direction: Direction,
        highest: u64,
    ) -> Result<Self, DmaError> {
        let Some(iovas) = dma.iovas.as_ref().filter(|_| S::MAPS) else {
            return Self::physical(dma, len, highest);
        };
        let memory = dma.sys.memory(len).map_err(DmaError::Memory)?;
        let len = memory.len();
        let size = u64::try_from(len).unwrap_or(u64::MAX);
        let page = u64::try_from(dma.sys.page_size()).unwrap_or(u64::MAX);
        let iova = iovas
            .lock()
            .allocate_up_to(size, page, highest)
            .map_err(DmaError::Iova)?;
        if let Err(errno) = dma.space().map(&memory, 0..len, iova, direction) {
            // It was just taken: giving it back can't fail.
            let _ = iovas.lock().free(iova, size);
            return Err(DmaError::Map { iova, errno });
        }
        Ok(Self {
            dma,
            memory,
            iova,
            size,
            is_mapped: true,
        })
    }

    /// Memory at its physical address.
    fn physical(dma: &'d Dma<S, N>, len: usize, highest: u64) -> Result<Self, DmaError> {
        let (memory, iova) = dma
            .sys
            .physical_memory(len, highest)
            .map_err(DmaError::Physical)?;
        let size = u64::try_from(memory.len()).unwrap_or(u64::MAX);
        Ok(Self {
            dma,
            memory,
            iova,
            size,
            is_mapped: false,
        })
    }

    /// Where the device finds the memory: its physical address where there is no IOMMU.
    #[inline]
    #[must_use]
    pub const fn iova(&self) -> u64 {
        self.iova
    }

    /// The length in bytes, a multiple of the page size.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.memory.len()
    }

    /// Whether the memory is empty, which it never is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.memory.is_empty()
    }

    /// The memory, to be read and written.
    #[inline]
    pub fn window(&mut self) -> Window<&S::Memory> {
        Window::new(&self.memory)
    }

    /// The memory.
    #[inline]
    pub(crate) const fn memory(&self) -> &S::Memory {
        &self.memory
    }

    /// Unmaps the memory and frees it, as dropping does, and tells how that went.
    ///
    /// # Errors
    /// [`DmaError::Unmap`]: the memory may still be mapped. It stays valid for the device, and
    /// its addresses are not given out again.
    pub fn unmap(mut self) -> Result<(), DmaError> {
        self.release()
    }

    /// Unmaps the memory, once.
    fn release(&mut self) -> Result<(), DmaError> {
        if !S::MAPS || !core::mem::take(&mut self.is_mapped) {
            return Ok(());
        }
        let iova = self.iova;
        match self.dma.space().unmap(iova, self.size) {
            Ok(size) if size == self.size => {
                // Where the list of free addresses is full these stay taken, to nobody's harm.
                if let Some(iovas) = &self.dma.iovas {
                    let _ = iovas.lock().free(iova, self.size);
                }
                Ok(())
            }
            Ok(_) => Err(DmaError::Unmap {
                iova,
                errno: Errno::EINVAL,
            }),
            Err(errno) => Err(DmaError::Unmap { iova, errno }),
        }
    }
}

impl<S: Sys, const N: usize> Drop for Buffer<'_, S, N> {
    fn drop(&mut self) {
        // The shim keeps memory that is still mapped valid for the device.
        let _ = self.release();
    }
}

#[cfg(feature = "defmt")]
impl<S: Sys, const N: usize> defmt::Format for Buffer<'_, S, N> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Buffer({} bytes at {})", self.size, self.iova);
    }
}
