//! What can go wrong with a device.

use core::fmt;

use vfio_core::dma::DmaError;
use vfio_core::sys::Errno;

use super::features::Features;

/// What can go wrong with a device; `E` is how a register access can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum VirtioError<E> {
    /// A register can't be reached.
    Access(E),
    /// A register does not lie in its structure.
    Offset {
        /// Where it would lie, in bytes from the start of the structure.
        offset: usize,
        /// The length of the structure in bytes.
        len: usize,
    },
    /// No device answers: its status reads as all ones.
    Gone,
    /// It is another type of device.
    Type {
        /// Which one (section 5).
        found: u16,
    },
    /// The device does not offer what the driver can't do without.
    Missing(Features),
    /// The device does not take what the driver accepts of its features.
    Refused(Features),
    /// The device is told addresses of an IOMMU that it does not go through
    /// (`VIRTIO_F_ACCESS_PLATFORM`): it would write memory that is not its own.
    NotConfined,
    /// The device does not become reset in time.
    NotReset {
        /// Its status.
        status: u8,
    },
    /// The device says that it can't go on (`DEVICE_NEEDS_RESET`).
    NeedsReset {
        /// Its status.
        status: u8,
    },
    /// The configuration of the device changes faster than it can be read.
    Unsteady,
    /// There is no such virtqueue, or none with two entries.
    NoQueue {
        /// Its number.
        queue: u16,
    },
    /// The device does not take the MSI-X vector.
    NoVector {
        /// The vector.
        vector: u16,
    },
    /// What the device wrote into a virtqueue makes no sense. It was reset.
    Unexpected {
        /// The virtqueue.
        queue: u16,
        /// What is wrong.
        misfit: Misfit,
    },
    /// A request was not answered in time. The device was reset.
    Timeout {
        /// The virtqueue that it is in.
        queue: u16,
    },
    /// The device says that a request failed, or that it does not know it.
    Failed {
        /// What it says.
        status: u8,
    },
    /// The device was stopped, after an error that was returned then.
    Stopped,
    /// A request of the caller makes no sense.
    Request(Refusal),
    /// Memory could not be given to the device; `ENOMEM` also past the limit of locked memory
    /// (`ulimit -l`), `ENOSPC` where no IOVA is left.
    Memory(Errno),
    /// An interrupt can't be waited for.
    Wait(Errno),
    /// The time can't be told.
    Clock(Errno),
}

/// What is wrong with what a device wrote into a virtqueue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Misfit {
    /// It used more chains than it was given.
    Index {
        /// How many it says that it used since the driver looked last.
        used: u16,
        /// How many it had.
        under_way: u16,
    },
    /// It used a chain that it was not given.
    Id {
        /// Where the chain would begin.
        id: u32,
    },
    /// It wrote more than there is room for.
    TooLong {
        /// Bytes that it says that it wrote.
        len: u32,
        /// Bytes that it may write.
        most: u32,
    },
    /// It wrote less than what was asked for takes.
    TooShort {
        /// Bytes that it says that it wrote.
        len: u32,
        /// Bytes that it takes at least.
        least: u32,
    },
    /// A frame is in no buffer, or in more than the device has.
    Buffers {
        /// In how many it says that it is.
        count: u16,
    },
    /// A request ended with a status that there is not.
    Status {
        /// The status.
        status: u8,
    },
}

/// Why a request was not given to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Refusal {
    /// A frame is shorter than its header, or longer than a buffer.
    FrameLength {
        /// Its length in bytes.
        len: usize,
        /// The longest in bytes.
        most: usize,
    },
    /// The place of a checksum is not in the frame, or the device computes none.
    Checksum,
    /// The device has no so many pairs of queues.
    Pairs {
        /// How many it can have.
        most: u16,
    },
    /// The device does not have what is asked for.
    NotSupported,
    /// The blocks are not all on the device.
    OutOfRange {
        /// How many sectors of 512 bytes it has.
        capacity: u64,
    },
    /// The length is not a multiple of a sector of 512 bytes.
    Unaligned {
        /// The length in bytes.
        len: usize,
    },
    /// The device can only be read.
    ReadOnly,
}

const _: () = assert!(size_of::<VirtioError<core::convert::Infallible>>() <= 24);

impl<E> VirtioError<E> {
    /// Returns why there is no memory.
    #[cold]
    pub(super) fn memory(error: DmaError) -> Self {
        Self::Memory(error.errno().unwrap_or(Errno::ENOSPC))
    }

    /// Tells whether the device was stopped because of it.
    #[must_use]
    pub const fn stops(&self) -> bool {
        matches!(
            self,
            Self::Access(_)
                | Self::Gone
                | Self::Unsteady
                | Self::NeedsReset { .. }
                | Self::Unexpected { .. }
                | Self::Timeout { .. }
                | Self::Stopped
        )
    }
}

impl<E> From<E> for VirtioError<E> {
    fn from(error: E) -> Self {
        Self::Access(error)
    }
}

impl<E: fmt::Display> fmt::Display for VirtioError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access(error) => error.fmt(f),
            Self::Offset { offset, len } => write!(
                f,
                "a register at {offset:#x} is not in its structure of {len:#x} bytes"
            ),
            Self::Gone => f.write_str("no device answers: its status reads as all ones"),
            Self::Type { found } => write!(f, "it is a virtio device of type {found}"),
            Self::Missing(features) => {
                write!(
                    f,
                    "the device does not offer the features {:#x}",
                    features.0
                )
            }
            Self::Refused(features) => {
                write!(f, "the device does not take the features {:#x}", features.0)
            }
            Self::NotConfined => f.write_str(
                "the device does not go through the IOMMU (VIRTIO_F_ACCESS_PLATFORM; in QEMU, \
                 iommu_platform=on)",
            ),
            Self::NotReset { status } => {
                write!(
                    f,
                    "the device does not become reset; its status is {status:#x}"
                )
            }
            Self::NeedsReset { status } => {
                write!(f, "the device needs a reset; its status is {status:#x}")
            }
            Self::Unsteady => {
                f.write_str("the configuration of the device changes faster than it is read")
            }
            Self::NoQueue { queue } => write!(f, "the device has no virtqueue {queue}"),
            Self::NoVector { vector } => {
                write!(f, "the device does not take the MSI-X vector {vector}")
            }
            Self::Unexpected { queue, misfit } => write!(f, "virtqueue {queue}: {misfit}"),
            Self::Timeout { queue } => {
                write!(f, "a request in virtqueue {queue} was not answered in time")
            }
            Self::Failed { status } => {
                write!(f, "the device says that a request failed: {status}")
            }
            Self::Stopped => f.write_str("the device was stopped after an error"),
            Self::Request(refusal) => refusal.fmt(f),
            Self::Memory(Errno::ENOMEM) => f.write_str(
                "there is no memory that can be given to the device, or the limit of locked memory \
                 is reached (`ulimit -l`)",
            ),
            Self::Memory(Errno::ENOSPC) => f.write_str("no IOVA is left for memory"),
            Self::Memory(errno) => write!(f, "memory can't be given to the device: {errno}"),
            Self::Wait(errno) => write!(f, "the interrupt can't be waited for: {errno}"),
            Self::Clock(errno) => write!(f, "the time can't be told: {errno}"),
        }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index { used, under_way } => write!(
                f,
                "the device says that it used {used} chains, and had {under_way}"
            ),
            Self::Id { id } => write!(f, "the device used chain {id}, which it does not have"),
            Self::TooLong { len, most } => write!(
                f,
                "the device says that it wrote {len} bytes, and there is room for {most}"
            ),
            Self::TooShort { len, least } => write!(
                f,
                "the device says that it wrote {len} bytes, and it takes {least}"
            ),
            Self::Buffers { count } => {
                write!(f, "the device says that a frame is in {count} buffers")
            }
            Self::Status { status } => {
                write!(
                    f,
                    "a request ended with the status {status}, which there is not"
                )
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FrameLength { len, most } => {
                write!(f, "a frame has 14 to {most} bytes, not {len}")
            }
            Self::Checksum => f.write_str("the device can't put a checksum there"),
            Self::Pairs { most } => write!(f, "the device can have 1 to {most} pairs of queues"),
            Self::NotSupported => f.write_str("the device does not have that"),
            Self::OutOfRange { capacity } => write!(
                f,
                "the blocks are not all on the device, which has {capacity} sectors of 512 bytes"
            ),
            Self::Unaligned { len } => {
                write!(f, "{len} bytes are no whole sectors of 512 bytes")
            }
            Self::ReadOnly => f.write_str("the device can only be read"),
        }
    }
}

impl<E: core::error::Error> core::error::Error for VirtioError<E> {}

impl core::error::Error for Refusal {}
