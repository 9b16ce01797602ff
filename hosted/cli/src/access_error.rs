//! Why a register or a region was not reached, with a way out.

use std::borrow::Cow;
use std::fmt;
use std::process::ExitCode;

use vfio_core::mmio::{OffsetError, RegisterError, TrapError};
use vfio_core::sys::Errno;

use crate::region::{Intent, Selector, Width};

/// Why a register or a region was not reached.
pub(crate) enum AccessError {
    /// The device has no such region.
    NoRegion {
        /// The device.
        device: String,
        /// What was asked for.
        selector: Selector,
        /// The names of the regions that it has.
        there: Vec<String>,
    },
    /// The region does not permit it.
    NotPermitted {
        /// The region.
        region: String,
        /// What was to be done.
        intent: Intent,
    },
    /// Reading may change the device, and nobody said that it may be done.
    SideEffects {
        /// The region.
        region: String,
    },
    /// A range does not lie in the region, or not at the width.
    Range {
        /// The region.
        region: String,
        /// Its size in bytes.
        size: u64,
        /// The first byte.
        start: u64,
        /// The byte past the last.
        end: u64,
        /// What start and end have to be multiples of, in bytes.
        align: u8,
    },
    /// A value has more bits than the register.
    TooWide {
        /// The value.
        value: u64,
        /// The width of the register.
        width: Width,
    },
    /// A register was not reached.
    Register {
        /// The region.
        region: String,
        /// Why.
        error: RegisterError<TrapError>,
    },
    /// Memory decoding could not be switched on.
    Enable {
        /// The device.
        device: String,
        /// Why.
        message: String,
    },
}

impl AccessError {
    /// Returns a sentence that tells the user what to do about it.
    pub(crate) fn way_out(&self) -> Cow<'static, str> {
        let text = match self {
            Self::NoRegion { device, there, .. } => {
                return if there.is_empty() {
                    format!("`vfio inspect {device}` shows what it has.").into()
                } else {
                    format!("It has {}.", there.join(", ")).into()
                };
            }
            Self::NotPermitted { .. } => "`vfio inspect` shows the flags of each region.",
            Self::SideEffects { .. } => "Add --force if it may.",
            Self::Range { align: 1, .. } => {
                "A range is START..END, with the end left out, or START+LENGTH."
            }
            Self::Range { .. } => "Leave out --width to have the ends read byte by byte.",
            Self::TooWide { .. } => "Give a wider --width or a smaller value.",
            Self::Register { error, .. } => match error {
                RegisterError::Offset(OffsetError::OutOfBounds { .. }) => {
                    "`vfio inspect` shows the size of each region."
                }
                RegisterError::Offset(OffsetError::Misaligned { .. }) => {
                    "Give a --width of which the offset is a multiple."
                }
                RegisterError::Access(TrapError::Errno { errno, .. }) if *errno == Errno::EIO => {
                    "The device does not answer on the memory of its BARs: --enable-memory has it \
                     do so while the command runs."
                }
                RegisterError::Access(TrapError::Errno { .. }) => {
                    "`vfio list` tells whether the device is still there, and `sudo dmesg` what \
                     the kernel has against it."
                }
                RegisterError::Access(TrapError::Short { .. }) => {
                    "Give a narrower --width: the kernel does not reach all of it."
                }
            },
            Self::Enable { .. } => "`vfio dump DEVICE config` shows what can be read.",
        };
        text.into()
    }

    /// Returns the exit status of the program.
    pub(crate) fn status(&self) -> ExitCode {
        match self {
            Self::NoRegion { .. }
            | Self::Range { .. }
            | Self::TooWide { .. }
            | Self::Register {
                error: RegisterError::Offset(_),
                ..
            } => ExitCode::from(crate::failure::USAGE),
            Self::NotPermitted { .. }
            | Self::SideEffects { .. }
            | Self::Register { .. }
            | Self::Enable { .. } => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRegion {
                device, selector, ..
            } => write!(f, "{device} has no region {selector}"),
            Self::NotPermitted { region, intent } => {
                let intent = match intent {
                    Intent::Look | Intent::Read => "read",
                    Intent::Write => "written",
                };
                write!(f, "{region} can't be {intent}")
            }
            Self::SideEffects { region } => write!(
                f,
                "reading the registers of {region} may change what the device does"
            ),
            Self::Range {
                region,
                size,
                start,
                end,
                align,
            } => {
                if end <= size && start < end {
                    write!(
                        f,
                        "{start:#x}..{end:#x} does not begin and end at multiples of {align}"
                    )
                } else {
                    write!(
                        f,
                        "{start:#x}..{end:#x} is no range of {region}, which has {size:#x} bytes"
                    )
                }
            }
            Self::TooWide { value, width } => {
                write!(f, "{value:#x} does not fit into {} bits", width.bits())
            }
            Self::Register { region, error } => write!(f, "{region}: {error}"),
            Self::Enable { device, message } => {
                write!(
                    f,
                    "{device}: memory decoding can't be switched on: {message}"
                )
            }
        }
    }
}
