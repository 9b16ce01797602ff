//! One API over the ways to an I/O address space.

use core::ops::Range;

use crate::device::DeviceHandle;
use crate::device::region::MappedRegion;
use crate::mmio::Window;
use crate::open::container::Container;
use crate::open::iommufd::Ioas;
use crate::sys::{Errno, Sys};
use crate::wire::abi::{DmaMapFlags, IoasMapFlags};

/// Where memory is mapped for devices.
#[derive(Debug)]
pub enum AddressSpace<S: Sys> {
    /// A container, VFIO's own or iommufd's.
    Container(Container<S>),
    /// iommufd.
    Ioas(Ioas<S>),
    /// A container without an IOMMU, in which nothing is mapped: devices reach all memory, at
    /// its physical addresses.
    NoIommu(Container<S>),
}

/// What a device may do with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Direction {
    /// It reads.
    ToDevice,
    /// It writes.
    FromDevice,
    /// It reads and writes.
    Both,
}

impl<S: Sys> AddressSpace<S> {
    /// Maps the bytes `range` of `memory` at `iova`. [`Dma`](crate::dma::Dma) does it safely: its
    /// buffers own their memory.
    ///
    /// # Safety
    /// `memory` is kept until it was unmapped, or until the address space and all groups and
    /// devices that are attached to it are closed: as for [`Sys::exchange_memory`].
    ///
    /// # Errors
    /// As [`Container::map`] and [`Ioas::map`]; without an IOMMU `ENOTTY`, as for all below.
    #[expect(unsafe_code, reason = "that memory is kept is the caller's promise")]
    pub unsafe fn map(
        &self,
        memory: &S::Memory,
        range: Range<usize>,
        iova: u64,
        direction: Direction,
    ) -> Result<(), Errno> {
        match self {
            Self::Container(container) | Self::NoIommu(container) => {
                // SAFETY: the caller's promise is passed on.
                unsafe { container.map(memory, range, iova, direction.dma()) }
            }
            Self::Ioas(ioas) => {
                // SAFETY: the caller's promise is passed on.
                unsafe { ioas.map(memory, range, iova, direction.ioas()) }
            }
        }
    }

    /// Maps the bytes `range` of a mapped BAR at `iova`, for a device to reach another one or
    /// itself.
    ///
    /// # Safety
    /// As [`AddressSpace::map`], of the window.
    ///
    /// # Errors
    /// As [`Container::map_bar`] and [`Ioas::map_bar`].
    #[expect(
        unsafe_code,
        reason = "that the BAR stays mapped is the caller's promise"
    )]
    pub unsafe fn map_bar<D: DeviceHandle<Sys = S>, P>(
        &self,
        bar: &Window<MappedRegion<D>, P>,
        range: Range<usize>,
        iova: u64,
        direction: Direction,
    ) -> Result<(), Errno> {
        match self {
            Self::Container(container) | Self::NoIommu(container) => {
                // SAFETY: the caller's promise is passed on.
                unsafe { container.map_bar(bar, range, iova, direction.dma()) }
            }
            Self::Ioas(ioas) => {
                // SAFETY: the caller's promise is passed on.
                unsafe { ioas.map_bar(bar, range, iova, direction.ioas()) }
            }
        }
    }

    /// Unmaps whole mappings within `size` bytes from `iova` on, and returns how many bytes were
    /// unmapped. What buffers have mapped there is taken from their device; their memory is never
    /// freed then, as they find nothing to unmap.
    ///
    /// # Errors
    /// As [`Container::unmap`] and [`Ioas::unmap`].
    pub fn unmap(&self, iova: u64, size: u64) -> Result<u64, Errno> {
        match self {
            Self::Container(container) | Self::NoIommu(container) => container.unmap(iova, size),
            Self::Ioas(ioas) => ioas.unmap(iova, size),
        }
    }

    /// Unmaps everything, and returns how many bytes that were.
    ///
    /// # Errors
    /// As [`Container::unmap_all`] and [`Ioas::unmap`].
    pub fn unmap_all(&self) -> Result<u64, Errno> {
        match self {
            Self::Container(container) | Self::NoIommu(container) => container.unmap_all(),
            Self::Ioas(ioas) => ioas.unmap(0, u64::MAX),
        }
    }
}

impl Direction {
    /// Tells whether the device reads.
    const fn reads(self) -> bool {
        matches!(self, Self::ToDevice | Self::Both)
    }

    /// Tells whether the device writes.
    const fn writes(self) -> bool {
        matches!(self, Self::FromDevice | Self::Both)
    }

    /// Returns the direction as a container takes it.
    fn dma(self) -> DmaMapFlags {
        let mut flags = DmaMapFlags::empty();
        flags.set(DmaMapFlags::READ, self.reads());
        flags.set(DmaMapFlags::WRITE, self.writes());
        flags
    }

    /// Returns the direction as iommufd takes it.
    fn ioas(self) -> IoasMapFlags {
        let mut flags = IoasMapFlags::empty();
        flags.set(IoasMapFlags::READABLE, self.reads());
        flags.set(IoasMapFlags::WRITEABLE, self.writes());
        flags
    }
}

#[cfg(feature = "defmt")]
impl<S: Sys> defmt::Format for AddressSpace<S> {
    fn format(&self, f: defmt::Formatter<'_>) {
        match self {
            Self::Container(_) => defmt::write!(f, "Container"),
            Self::Ioas(_) => defmt::write!(f, "Ioas"),
            Self::NoIommu(_) => defmt::write!(f, "NoIommu"),
        }
    }
}
