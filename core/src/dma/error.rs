//! Why memory could not be given to a device.

use core::fmt;

use crate::dma::iova::{IovaError, IovaRangesError};
use crate::query::QueryError;
use crate::sys::Errno;
use crate::wire::abi;

/// Why memory could not be given to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DmaError {
    /// The container does not say what can be mapped.
    Query(QueryError<abi::IommuType1Info>),
    /// iommufd does not say what can be mapped.
    Ask(Errno),
    /// What is said to be mappable makes no sense, or has too many parts.
    Ranges(IovaRangesError),
    /// There is no memory.
    Memory(Errno),
    /// There are no huge pages.
    Huge {
        /// Bytes of a page.
        size: usize,
        /// Why.
        errno: Errno,
    },
    /// There is no memory that is contiguous, stays where it is, whose physical address can be
    /// known, and which the device reaches;
    /// [`Sys::physical_memory`](crate::sys::Sys::physical_memory).
    Physical(Errno),
    /// Memory of the caller's can't be given to a device without an IOMMU.
    Foreign,
    /// There is no address.
    Iova(IovaError),
    /// The memory can't be mapped; `ENOMEM` past the limit of locked memory (`ulimit -l`).
    Map {
        /// Where it was to be mapped.
        iova: u64,
        /// Why.
        errno: Errno,
    },
    /// The memory can't be unmapped; it may stay mapped, and is never freed.
    Unmap {
        /// Where it is mapped.
        iova: u64,
        /// Why.
        errno: Errno,
    },
}

impl DmaError {
    /// Returns the error number, where it is the system's and nothing else.
    #[must_use]
    pub const fn errno(&self) -> Option<Errno> {
        match *self {
            Self::Ask(errno)
            | Self::Memory(errno)
            | Self::Huge { errno, .. }
            | Self::Physical(errno)
            | Self::Map { errno, .. }
            | Self::Unmap { errno, .. } => Some(errno),
            Self::Query(_) | Self::Ranges(_) | Self::Foreign | Self::Iova(_) => None,
        }
    }
}

impl fmt::Display for DmaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query(error) => write!(f, "the container's IOMMU can't be asked: {error}"),
            Self::Ask(errno) => write!(f, "the I/O address space can't be asked: {errno}"),
            Self::Ranges(error) => error.fmt(f),
            Self::Memory(errno) => write!(f, "there is no memory for DMA: {errno}"),
            Self::Huge { size, errno } => write!(
                f,
                "there are no huge pages of {} KiB: {errno}; Linux reserves N with `echo N > \
                 /sys/kernel/mm/hugepages/hugepages-{0}kB/nr_hugepages`",
                size >> 10
            ),
            Self::Physical(errno) => f.write_str(match *errno {
                Errno::ENOMEM => {
                    "there is no memory for DMA without an IOMMU, which must stay where it is: \
                     on Linux no huge page is free (`echo N > /proc/sys/vm/nr_hugepages` reserves \
                     N)"
                }
                Errno::ERANGE => {
                    "memory for DMA without an IOMMU lies higher than the device reaches"
                }
                Errno::EPERM => {
                    "physical addresses, which DMA without an IOMMU takes, are not the caller's \
                     to know: on Linux with CAP_SYS_ADMIN alone"
                }
                errno => return write!(f, "there is no memory for DMA without an IOMMU: {errno}"),
            }),
            Self::Foreign => f.write_str(
                "memory that the caller has can't be given to a device without an IOMMU",
            ),
            Self::Iova(error) => error.fmt(f),
            Self::Map {
                iova,
                errno: Errno::ENOMEM,
            } => write!(
                f,
                "memory can't be mapped at IOVA {iova:#x}: there is none, or the limit of locked \
                 memory is reached (`ulimit -l`)"
            ),
            Self::Map { iova, errno } => {
                write!(f, "memory can't be mapped at IOVA {iova:#x}: {errno}")
            }
            Self::Unmap { iova, errno } => {
                write!(f, "memory can't be unmapped at IOVA {iova:#x}: {errno}")
            }
        }
    }
}

impl core::error::Error for DmaError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Query(error) => Some(error),
            Self::Ranges(error) => Some(error),
            Self::Iova(error) => Some(error),
            Self::Foreign => None,
            Self::Ask(errno)
            | Self::Memory(errno)
            | Self::Huge { errno, .. }
            | Self::Physical(errno)
            | Self::Map { errno, .. }
            | Self::Unmap { errno, .. } => Some(errno),
        }
    }
}
