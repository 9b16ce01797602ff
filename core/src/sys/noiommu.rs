//! The word of whoever opens a device that no IOMMU confines.

/// The word of whoever opens a device that no IOMMU confines: what it is driven with keeps it to
/// its own memory.
///
/// Every way to such a device takes it: [`Sys::open_group`], [`FdRequest::SetContainerNoIommu`],
/// [`ValueRequest::SetNoIommu`], and what is built on them. It can't be made but by
/// [`NoIommu::acknowledge`].
///
/// [`Sys::open_group`]: super::Sys::open_group
/// [`FdRequest::SetContainerNoIommu`]: super::FdRequest::SetContainerNoIommu
/// [`ValueRequest::SetNoIommu`]: super::ValueRequest::SetNoIommu
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NoIommu(());

impl NoIommu {
    /// Gives the word.
    ///
    /// # Safety
    /// A device without an IOMMU reads and writes all memory of the machine, at physical
    /// addresses, whatever Rust keeps there. Of every device that is opened with the word, the
    /// caller promises for as long as it is open:
    ///
    /// - It is told no other addresses than those of memory that was given out for its DMA
    ///   ([`Dma`](crate::dma::Dma), [`Sys::physical_memory`](super::Sys::physical_memory)) and is
    ///   still alive, and accesses none but those.
    /// - It has stopped, or was reset, before that memory is dropped.
    /// - Nobody moves that memory, in a world where it can be moved; `Sys::physical_memory` of
    ///   the world says by what.
    ///
    /// A program that is killed stops nothing: Linux frees its memory before it closes the
    /// device, which ends its bus mastering. What is written in between is no memory of this
    /// program any more. Who switches the kernel's no-IOMMU mode on has accepted that, and the
    /// kernel is tainted.
    #[must_use]
    pub const unsafe fn acknowledge() -> Self {
        Self(())
    }
}
