//! DMA that went wrong.

use std::fmt;
use std::string::String;

/// A transfer of a device that was refused: nothing of it was done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// The name of the device.
    pub device: String,
    /// The first address, in bytes, that could not be reached.
    pub iova: u64,
    /// What the device wanted to do.
    pub access: DmaAccess,
    /// Why it was refused.
    pub reason: FaultReason,
}

/// What a device does to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DmaAccess {
    /// It reads.
    Read,
    /// It writes.
    Write,
    /// It writes a message that is an interrupt.
    Message,
}

/// Why a transfer is refused, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Refusal {
    /// The first address, in bytes, that can't be reached.
    pub iova: u64,
    /// Why.
    pub reason: FaultReason,
}

/// Why DMA is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultReason {
    /// The device may not master the bus (bit 2 of its command register is clear).
    BusMasterOff,
    /// The device has no address space: it is not open, or not attached.
    Unattached,
    /// Nothing is mapped there.
    Unmapped,
    /// What is mapped there may not be read, or not be written.
    Forbidden,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            device,
            iova,
            access,
            reason,
        } = self;
        write!(f, "{device} {access} {iova:#x}: {reason}")
    }
}

impl fmt::Display for DmaAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "reads",
            Self::Write => "writes",
            Self::Message => "sends a message to",
        })
    }
}

impl fmt::Display for FaultReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BusMasterOff => "it may not master the bus",
            Self::Unattached => "it has no address space",
            Self::Unmapped => "nothing is mapped there",
            Self::Forbidden => "what is mapped there does not permit it",
        })
    }
}

impl core::error::Error for Fault {}
