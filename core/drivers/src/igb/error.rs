//! What can go wrong with the device.

use core::fmt;

use vfio_core::dma::DmaError;
use vfio_core::mmio::OffsetError;
use vfio_core::sys::Errno;

use super::Ring;

/// What can go wrong with the device; `E` is how a register access can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum IgbError<E> {
    /// The BAR is too short for the registers.
    Offset(OffsetError),
    /// Every register reads as ones: there is no device any more.
    Gone,
    /// A register can't be reached.
    Access(E),
    /// A ring can't be had.
    Dma(DmaError),
    /// A ring can't be read or written.
    Memory,
    /// A reset does not come to an end.
    Reset,
    /// The PHY does not answer, or refuses.
    Phy,
    /// There is no link, though what is sent comes back.
    NoLink,
    /// A ring can't be started or stopped.
    Queue(Ring),
    /// A copy is shorter than a frame can be.
    TooShort {
        /// The length in bytes.
        len: usize,
        /// The shortest that is possible.
        least: usize,
    },
    /// A copy is longer than the memory that was given for it.
    TooLong {
        /// The length in bytes.
        len: usize,
        /// The longest that is possible.
        most: usize,
    },
    /// The source or the destination ends past the last address.
    Address {
        /// Where it starts.
        iova: u64,
    },
    /// A frame was not sent, or did not come back. Those that did may have taken its place: what
    /// the destination holds is not known.
    Lost {
        /// In which ring it is missing.
        ring: Ring,
    },
    /// What came back is not the frame that was sent.
    Frame {
        /// The status of its descriptor.
        status: u32,
        /// Its length in bytes.
        len: u16,
        /// The length that was sent.
        sent: u16,
    },
    /// An interrupt did not come.
    NoInterrupt,
    /// An interrupt can't be waited for.
    Wait(Errno),
}

impl<E> From<E> for IgbError<E> {
    fn from(error: E) -> Self {
        Self::Access(error)
    }
}

impl<E: fmt::Display> fmt::Display for IgbError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(error) => error.fmt(f),
            Self::Gone => f.write_str("the device is gone: its registers read as ones"),
            Self::Access(error) => error.fmt(f),
            Self::Dma(error) => error.fmt(f),
            Self::Memory => f.write_str("a ring can't be reached"),
            Self::Reset => f.write_str("the reset does not come to an end"),
            Self::Phy => f.write_str("the PHY does not do as it is told"),
            Self::NoLink => f.write_str("the link does not come up"),
            Self::Queue(ring) => write!(f, "the {ring} queue neither starts nor stops"),
            Self::TooShort { len, least } => {
                write!(
                    f,
                    "a copy of {len} bytes is shorter than the least, {least}"
                )
            }
            Self::TooLong { len, most } => {
                write!(
                    f,
                    "a copy of {len} bytes is longer than the possible {most}"
                )
            }
            Self::Address { iova } => {
                write!(f, "a copy from or to {iova:#x} ends past the last address")
            }
            Self::Lost { ring } => write!(f, "a frame is missing in the {ring} queue"),
            Self::Frame { status, len, sent } => write!(
                f,
                "a frame of {sent} bytes came back with {len} and the status {status:#010x}"
            ),
            Self::NoInterrupt => f.write_str("the interrupt did not come"),
            Self::Wait(errno) => write!(f, "the interrupt can't be waited for: {errno}"),
        }
    }
}

impl<E: core::error::Error> core::error::Error for IgbError<E> {}
