//! Memory that is mapped for a device.

use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use super::handle::sealed::Site;
use super::{BufferOptions, DmaError, DmaHandle};
use crate::mmio::{Access, Window};
use crate::sys::{Errno, Pages, Sys};

/// The memory of the shim below a handle.
type Memory<M> = <<M as DmaHandle>::Sys as Sys>::Memory;

/// Memory that a device reaches; unmapped and freed on drop.
///
/// The device may read and write it at any time, so that no reference to it is formed: a
/// [`Window`] reads and writes it, in single accesses of up to 64 bits or in bulk. Memory that
/// can't be unmapped is never freed: [`Buffer::unmap`] tells, and dropping logs it.
///
/// ```
/// use vfio_core::dma::{Buffer, DmaHandle};
/// use vfio_core::mmio::{after_status, before_doorbell};
///
/// fn ask<M: DmaHandle>(
///     memory: &mut Buffer<M>,
///     doorbell: impl FnOnce(u64),
/// ) -> Result<[u8; 64], Box<dyn std::error::Error>> {
///     memory.window().write_bytes(0, b"what is the time?")?;
///     before_doorbell();
///     doorbell(memory.iova());
///     // The device says in the last byte that it has written the others.
///     while memory.window().read::<u8>(4095)? == 0 {}
///     after_status();
///     let mut answer = [0; 64];
///     memory.window().read_bytes(1024, &mut answer)?;
///     Ok(answer)
/// }
/// ```
pub struct Buffer<M: DmaHandle> {
    dma: M,
    /// Freed by [`Buffer::release`] alone, once the device can't reach it any more.
    memory: ManuallyDrop<Memory<M>>,
    iova: u64,
    size: u64,
    hold: Hold,
}

/// What must happen before the memory is freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// It is unmapped.
    Mapped,
    /// Nothing: the driver has stopped the device, which no IOMMU confines.
    Physical,
    /// It was freed, or is never freed.
    Released,
}

impl<M: DmaHandle> Buffer<M> {
    /// Makes zeroed memory of at least `len` bytes, and maps it.
    ///
    /// # Errors
    /// [`DmaError`]; nothing is left mapped or taken.
    pub fn new(dma: M, len: usize, options: impl Into<BufferOptions>) -> Result<Self, DmaError> {
        let options = options.into();
        if !dma.maps() {
            return Self::physical(dma, len, options);
        }
        let memory = dma.sys().memory(len, options.pages);
        let memory = memory.map_err(|errno| match options.pages {
            Pages::Ordinary => DmaError::Memory(errno),
            Pages::Huge(size) => DmaError::Huge { size, errno },
        })?;
        Self::map(dma, memory, options)
    }

    /// Maps the `len` bytes at `base`, which are the caller's and stay so: a slice, a file, a
    /// virtual machine's memory.
    ///
    /// # Errors
    /// [`DmaError`]: `EINVAL` for what is not whole pages. [`DmaError::Foreign`] without an IOMMU,
    /// where nothing tells the physical address.
    ///
    /// # Safety
    /// The bytes can be read and written, and stay where they are, until the buffer is dropped;
    /// where it can't be unmapped ([`Buffer::unmap`]), for ever. Until then nobody forms a
    /// reference to them but to atomics, and others access them as those at most.
    pub unsafe fn foreign(
        dma: M,
        base: NonNull<u8>,
        len: usize,
        options: impl Into<BufferOptions>,
    ) -> Result<Self, DmaError> {
        if !dma.maps() {
            return Err(DmaError::Foreign);
        }
        // SAFETY: the caller's promise is passed on; the memory is dropped with the buffer.
        let memory = unsafe { dma.sys().foreign_memory(base, len) };
        Self::map(dma, memory.map_err(DmaError::Memory)?, options.into())
    }

    /// Maps memory.
    fn map(dma: M, memory: Memory<M>, options: BufferOptions) -> Result<Self, DmaError> {
        let len = memory.len();
        let size = u64::try_from(len).unwrap_or(u64::MAX);
        let page = u64::try_from(dma.sys().page_size()).unwrap_or(u64::MAX);
        let site = Site {
            size,
            align: options.align.max(page),
            highest: options.highest,
            iova: options.iova,
        };
        let iova = dma.allocate(site).map_err(DmaError::Iova)?;
        // SAFETY: the buffer that is made below owns the memory, and frees it only once it was
        // unmapped. Where it can't be mapped, nothing is.
        let mapped = unsafe { dma.space().map(&memory, 0..len, iova, options.direction) };
        if let Err(errno) = mapped {
            dma.free(iova, size);
            return Err(DmaError::Map { iova, errno });
        }
        Ok(Self {
            dma,
            memory: ManuallyDrop::new(memory),
            iova,
            size,
            hold: Hold::Mapped,
        })
    }

    /// Makes memory at its physical address.
    fn physical(dma: M, len: usize, options: BufferOptions) -> Result<Self, DmaError> {
        let (memory, iova) = dma
            .sys()
            .physical_memory(len, options.highest)
            .map_err(DmaError::Physical)?;
        let size = u64::try_from(memory.len()).unwrap_or(u64::MAX);
        let this = Self {
            dma,
            memory: ManuallyDrop::new(memory),
            iova,
            size,
            hold: Hold::Physical,
        };
        match options.iova {
            // Memory has the address that it has.
            Some(wanted) if wanted != iova => Err(DmaError::Physical(Errno::EINVAL)),
            _ if !iova.is_multiple_of(options.align.max(1)) => {
                Err(DmaError::Physical(Errno::ENOMEM))
            }
            _ => Ok(this),
        }
    }

    /// Returns where the device finds the memory: its physical address where there is no IOMMU.
    #[inline]
    #[must_use]
    pub const fn iova(&self) -> u64 {
        self.iova
    }

    /// Returns the length in bytes, a multiple of the page size.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.memory.len()
    }

    /// Tells whether the memory is empty, which it never is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.memory.is_empty()
    }

    /// Returns a window that reads and writes the memory.
    #[inline]
    pub fn window(&mut self) -> Window<&Memory<M>> {
        Window::new(&*self.memory)
    }

    /// Returns the memory.
    #[inline]
    pub(super) fn memory(&self) -> &Memory<M> {
        &self.memory
    }

    /// Unmaps the memory and frees it, as dropping does, and tells how that went.
    ///
    /// # Errors
    /// [`DmaError::Unmap`]: the memory may still be mapped. It is never freed, and its addresses
    /// are not given out again.
    pub fn unmap(mut self) -> Result<(), DmaError> {
        self.release()
    }

    /// Unmaps the memory and frees it, once.
    fn release(&mut self) -> Result<(), DmaError> {
        match core::mem::replace(&mut self.hold, Hold::Released) {
            Hold::Released => return Ok(()),
            Hold::Physical => (),
            Hold::Mapped => {
                self.unmap_whole().inspect_err(|_| {
                    warn!(
                        "memory at the IOVA {} can't be unmapped: it is never freed",
                        self.iova
                    );
                })?;
                self.dma.free(self.iova, self.size);
            }
        }
        // SAFETY: it was not dropped before, since the state tells so, and is not used again:
        // the value is being dropped, or was consumed to be.
        unsafe { ManuallyDrop::drop(&mut self.memory) };
        Ok(())
    }

    /// Takes the memory out of the device's reach.
    fn unmap_whole(&self) -> Result<(), DmaError> {
        let iova = self.iova;
        match self.dma.space().unmap(iova, self.size) {
            Ok(size) if size == self.size => Ok(()),
            Ok(_) => Err(Errno::EINVAL),
            Err(errno) => Err(errno),
        }
        .map_err(|errno| DmaError::Unmap { iova, errno })
    }
}

impl<M: DmaHandle> Drop for Buffer<M> {
    fn drop(&mut self) {
        // What can't be unmapped stays as it is.
        let _ = self.release();
    }
}

impl<M: DmaHandle> fmt::Debug for Buffer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("iova", &format_args!("{:#x}", self.iova))
            .field("size", &self.size)
            .field("hold", &self.hold)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "defmt")]
impl<M: DmaHandle> defmt::Format for Buffer<M> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Buffer({} bytes at {})", self.size, self.iova);
    }
}
