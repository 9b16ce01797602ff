//! What can go wrong with the device.

use core::fmt;

use vfio_core::device::irq::IrqError;
use vfio_core::dma::DmaError;
use vfio_core::sys::Errno;

/// What can go wrong with the device; `E` is how a register access can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum EduError<E> {
    /// The BAR is too short for the registers.
    TooShort {
        /// Bytes of the BAR.
        len: usize,
    },
    /// Another device.
    NotEdu {
        /// What stands in the place of the identification.
        id: u32,
    },
    /// A register can't be reached.
    Access(E),
    /// The device does not come to an end.
    Stuck,
    /// An interrupt did not come, or for another reason.
    NoInterrupt {
        /// The reasons that were expected, as bits.
        expected: u32,
        /// The reasons that the device gives, as bits.
        status: u32,
    },
    /// An interrupt can't be waited for.
    Wait(Errno),
    /// An interrupt can't be let through again.
    Irq(IrqError),
    /// Memory can't be given to the device.
    Dma(DmaError),
    /// A copy is longer than the device's buffer.
    TooLong {
        /// The length in bytes.
        len: usize,
    },
}

impl<E> From<E> for EduError<E> {
    fn from(error: E) -> Self {
        Self::Access(error)
    }
}

impl<E: fmt::Display> fmt::Display for EduError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { len } => {
                write!(f, "a BAR of {len} bytes is too short for the registers")
            }
            Self::NotEdu { id } => write!(f, "this is no edu: its identification is {id:#010x}"),
            Self::Access(error) => error.fmt(f),
            Self::Stuck => f.write_str("the device does not come to an end"),
            Self::NoInterrupt { expected, status } => write!(
                f,
                "the interrupt for {expected:#x} did not come; the device gives {status:#x}"
            ),
            Self::Wait(errno) => write!(f, "the interrupt can't be waited for: {errno}"),
            Self::Irq(error) => error.fmt(f),
            Self::Dma(error) => error.fmt(f),
            Self::TooLong { len } => {
                write!(
                    f,
                    "a copy of {len} bytes is longer than the device's buffer"
                )
            }
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for EduError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            // These speak for themselves above.
            Self::Access(error) => error.source(),
            Self::Irq(error) => error.source(),
            Self::Dma(error) => error.source(),
            Self::Wait(errno) => Some(errno),
            Self::TooShort { .. }
            | Self::NotEdu { .. }
            | Self::Stuck
            | Self::NoInterrupt { .. }
            | Self::TooLong { .. } => None,
        }
    }
}
