//! Why memory could not be given to a device.

use core::fmt;

use crate::abi;
use crate::iova::{IovaError, IovaRangesError};
use crate::query::QueryError;
use crate::sys::Errno;

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
    /// There is no memory that is contiguous, whose physical address can be known, and which
    /// the device reaches; [`Sys::physical_memory`](crate::sys::Sys::physical_memory).
    Physical(Errno),
    /// There is no address.
    Iova(IovaError),
    /// The memory can't be mapped; `ENOMEM` past the limit of locked memory (`ulimit -l`).
    Map {
        /// Where it was to be mapped.
        iova: u64,
        /// Why.
        errno: Errno,
    },
    /// The memory can't be unmapped; it stays mapped, and is never freed.
    Unmap {
        /// Where it is mapped.
        iova: u64,
        /// Why.
        errno: Errno,
    },
}

impl DmaError {
    /// The error number, where it is one of the system's and nothing else.
    #[must_use]
    pub const fn errno(&self) -> Option<Errno> {
        match *self {
            Self::Ask(errno)
            | Self::Memory(errno)
            | Self::Physical(errno)
            | Self::Map { errno, .. }
            | Self::Unmap { errno, .. } => Some(errno),
            Self::Query(_) | Self::Ranges(_) | Self::Iova(_) => None,
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
            Self::Physical(errno) => write!(
                f,
                "there is no contiguous memory for DMA without an IOMMU: {errno}"
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
            Self::Ask(errno)
            | Self::Memory(errno)
            | Self::Physical(errno)
            | Self::Map { errno, .. }
            | Self::Unmap { errno, .. } => Some(errno),
        }
    }
}
