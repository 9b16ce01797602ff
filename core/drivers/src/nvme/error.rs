//! What can go wrong with a controller.

use core::fmt;

use vfio_core::dma::DmaError;
use vfio_core::sys::Errno;

use super::registers::Capabilities;
use super::status::Status;

/// What can go wrong with a controller; `E` is how a register access can fail.
///
/// What the caller knows is not in it: where `E` is small, it has at most 16 bytes and is
/// returned in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum NvmeError<E> {
    /// BAR 0 is too short for the registers.
    Short {
        /// Its length in bytes.
        len: usize,
    },
    /// A register can't be reached.
    Access(E),
    /// No device answers: its registers read as all ones.
    Gone,
    /// The controller can't be driven: it has neither the NVM command set nor admin commands
    /// alone, or no pages of 4 KiB.
    Unsupported {
        /// What it can do.
        capabilities: Capabilities,
    },
    /// The controller needs queue pairs with entries of another size.
    EntrySizes {
        /// The smallest of a submission queue, as the base-2 logarithm.
        submission: u8,
        /// The smallest of a completion queue, as the base-2 logarithm.
        completion: u8,
    },
    /// The controller does not become ready in the time that it said.
    NotReady {
        /// Its status (CSTS).
        status: u32,
    },
    /// The controller does not stop in the time that it said.
    NotStopped {
        /// Its status (CSTS).
        status: u32,
    },
    /// The controller reports a fatal error.
    Fatal {
        /// Its status (CSTS).
        status: u32,
    },
    /// A command did not end in time.
    Timeout {
        /// The queue that it is in; 0 is the admin queue.
        queue: u16,
        /// Its identifier.
        command: u16,
    },
    /// A completion was not for any command that is under way.
    Unexpected {
        /// The queue that the completion came in.
        queue: u16,
        /// What is wrong with it.
        misfit: Misfit,
    },
    /// A command failed.
    Command(Status),
    /// The controller was stopped, after an error that was returned then.
    Stopped,
    /// There is no such namespace, or no longer.
    NoNamespace {
        /// Its identifier.
        id: u32,
    },
    /// The namespace is formatted in a way that makes no sense, or can't be used.
    Format {
        /// The namespace.
        id: u32,
        /// The format that is said to be in use.
        index: u8,
        /// The base-2 logarithm of the size of its blocks in bytes.
        shift: u8,
    },
    /// The namespace has more bytes than can be counted.
    Size {
        /// The namespace.
        id: u32,
    },
    /// The protection information of the namespace can't be used: the driver knows no such type,
    /// guard or storage tag, or the namespace has more blocks than a reference tag of 32 bits tells
    /// apart.
    Protection {
        /// The namespace.
        id: u32,
        /// The format of the protection information (PIF): 0 for a guard of 16 bits, 1 for 32, 2
        /// for 64; none where the controller does not say.
        format: Option<u8>,
        /// Bits of the storage tag (STS).
        storage_tag: u8,
    },
    /// All queue pairs that the controller has are in use.
    NoQueue {
        /// How many there are.
        most: u16,
    },
    /// No more controllers and queue pairs can be told apart in this process: 2^32 were started.
    Exhausted,
    /// A queue can't be so deep.
    TooDeep {
        /// How many commands at a time it could take.
        most: u32,
    },
    /// A slot can't be so long: more than the controller transfers at a time, or no multiple of
    /// 4 KiB.
    SlotLength {
        /// The longest that is possible, in bytes.
        most: usize,
    },
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

/// What is wrong with a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Misfit {
    /// It names a command that is not under way.
    Command {
        /// The command's identifier.
        id: u16,
    },
    /// It names another queue.
    Queue {
        /// The queue.
        id: u16,
    },
    /// It names a place in the submission queue that there is not.
    Head {
        /// The place.
        head: u16,
    },
    /// It was written with the phase of an old one.
    Phase {
        /// The command's identifier.
        id: u16,
    },
}

/// Why a command was not given to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Refusal {
    /// The blocks are not all in the namespace, or are none.
    OutOfRange {
        /// How many the namespace has.
        size: u64,
    },
    /// The data is longer than a slot.
    TooLong {
        /// Bytes of a slot.
        most: usize,
    },
    /// The slot has no room for the blocks' metadata.
    Metadata {
        /// Bytes that there are.
        most: usize,
    },
    /// The namespace was not read from this controller, or not since it was started last. What it
    /// said may not hold any more: read it again.
    Namespace {
        /// Its identifier.
        id: u32,
    },
    /// The slot or the command is another queue pair's, or the queue was given up after an error.
    Slot {
        /// Its number.
        id: u16,
    },
    /// There are no ranges, or more than 256, or more than fit into a slot.
    Ranges {
        /// How many.
        count: usize,
    },
    /// The length is not a multiple of the size of a block.
    Unaligned {
        /// Bytes of a block.
        block: u32,
    },
    /// The controller can't do it.
    NotSupported,
    /// Other commands are under way.
    UnderWay {
        /// How many.
        count: usize,
    },
    /// The caller holds all slots.
    NoSlot,
}

const _: () = assert!(size_of::<NvmeError<core::convert::Infallible>>() <= 16);

impl<E> From<E> for NvmeError<E> {
    fn from(error: E) -> Self {
        Self::Access(error)
    }
}

impl<E> NvmeError<E> {
    /// Returns why there is no memory.
    #[cold]
    pub(super) fn memory(error: DmaError) -> Self {
        Self::Memory(error.errno().unwrap_or(Errno::ENOSPC))
    }

    /// Tells whether the controller was stopped because of it.
    #[must_use]
    pub const fn stops(&self) -> bool {
        matches!(
            self,
            Self::Access(_)
                | Self::Gone
                | Self::NotReady { .. }
                | Self::NotStopped { .. }
                | Self::Fatal { .. }
                | Self::Timeout { .. }
                | Self::Unexpected { .. }
                | Self::Stopped
        )
    }
}

impl<E: fmt::Display> fmt::Display for NvmeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { len } => {
                write!(f, "BAR 0 of {len} bytes is too short for the registers")
            }
            Self::Access(error) => error.fmt(f),
            Self::Gone => f.write_str("no device answers: its registers read as all ones"),
            Self::Unsupported { capabilities } => write!(
                f,
                "the controller has no NVM command set or no pages of 4 KiB: its capabilities are \
                 {:#018x}",
                capabilities.0
            ),
            Self::EntrySizes {
                submission,
                completion,
            } => write!(
                f,
                "the controller needs queue entries of 2^{submission} and 2^{completion} bytes"
            ),
            Self::NotReady { status } => {
                write!(
                    f,
                    "the controller does not become ready; its status is {status:#x}"
                )
            }
            Self::NotStopped { status } => {
                write!(f, "the controller does not stop; its status is {status:#x}")
            }
            Self::Fatal { status } => write!(
                f,
                "the controller reports a fatal error; its status is {status:#x}"
            ),
            Self::Timeout { queue, command } => {
                write!(f, "command {command} of queue {queue} did not end in time")
            }
            Self::Unexpected { queue, misfit } => write!(f, "queue {queue}: {misfit}"),
            Self::Command(status) => write!(f, "the command failed: {status}"),
            Self::Stopped => f.write_str("the controller was stopped after an error"),
            Self::NoNamespace { id } => write!(f, "there is no namespace {id}"),
            Self::Format { id, index, shift } => write!(
                f,
                "namespace {id} can't be used: its format {index} has blocks of 2^{shift} bytes"
            ),
            Self::Size { id } => write!(
                f,
                "namespace {id} can't be used: its blocks have more bytes than can be counted"
            ),
            Self::Protection {
                id,
                format: Some(format),
                storage_tag,
            } => write!(
                f,
                "namespace {id} can't be used: its protection information has format {format} and \
                 a storage tag of {storage_tag} bits"
            ),
            Self::Protection { id, .. } => write!(
                f,
                "namespace {id} can't be used: the controller does not say what format its \
                 protection information has"
            ),
            Self::NoQueue { most: 0 } => f.write_str("the controller gives no queue pairs"),
            Self::NoQueue { most } => write!(f, "all {most} queue pairs are in use"),
            Self::Exhausted => f.write_str("no more controllers and queue pairs can be told apart"),
            Self::TooDeep { most } => {
                write!(f, "a queue takes at most {most} commands at a time")
            }
            Self::SlotLength { most } => {
                write!(f, "a slot has to be a multiple of 4 KiB up to {most} bytes")
            }
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
            Self::Command { id } => write!(
                f,
                "a completion is for command {id}, which is not under way"
            ),
            Self::Queue { id } => write!(f, "a completion is for queue {id}"),
            Self::Head { head } => write!(
                f,
                "a completion says that the device has read up to entry {head}, which there is not"
            ),
            Self::Phase { id } => write!(
                f,
                "a completion for command {id} was written with the phase of an old one"
            ),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { size } => write!(
                f,
                "the blocks are none, or not all in the namespace, which has {size}"
            ),
            Self::TooLong { most } => {
                write!(f, "the data is longer than a slot, which has {most} bytes")
            }
            Self::Metadata { most } => {
                write!(
                    f,
                    "the metadata is longer than that of a slot, which has {most} bytes"
                )
            }
            Self::Namespace { id } => write!(
                f,
                "namespace {id} was not read from this controller since it was started"
            ),
            Self::Slot { id } => write!(f, "slot {id} is not free to be used"),
            Self::Ranges { count } => write!(f, "{count} ranges can't be given in one command"),
            Self::Unaligned { block } => {
                write!(
                    f,
                    "the length is no multiple of a block, which has {block} bytes"
                )
            }
            Self::NotSupported => f.write_str("the controller does not support the command"),
            Self::UnderWay { count } => write!(f, "{count} other commands are under way"),
            Self::NoSlot => f.write_str("all slots of the queue are held"),
        }
    }
}

impl<E: core::error::Error> core::error::Error for NvmeError<E> {}

impl core::error::Error for Refusal {}
