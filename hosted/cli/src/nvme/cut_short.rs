//! Work with a controller that ended before its end: how far it got, why, and a way on.

use std::borrow::Cow;
use std::fmt;
use std::process::ExitCode;

use crate::failure::Failure;
use crate::interrupt::INTERRUPTED;

/// Work that ended before its end.
pub(crate) struct CutShort {
    /// How far it got.
    pub(crate) done: Done,
    /// Why.
    pub(crate) cause: Cause,
}

/// How far work got.
pub(crate) enum Done {
    /// Blocks were read or written.
    Blocks {
        /// Which of them.
        way: Way,
        /// The device's name.
        name: String,
        /// The namespace.
        namespace: u32,
        /// The first block.
        lba: u64,
        /// How many blocks.
        blocks: u64,
    },
    /// Reads were measured.
    Reads {
        /// The device's name.
        name: String,
        /// How many.
        reads: u64,
        /// For how long.
        seconds: f64,
    },
}

/// Where blocks go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the namespace.
    Read,
    /// To the namespace.
    Written,
}

/// Why work ended before its end.
pub(crate) enum Cause {
    /// The user asked for it.
    Interrupted,
    /// The controller or a command failed.
    Controller(String),
    /// What was to be written does not fit.
    NoRoom {
        /// How many blocks there were for it.
        room: u64,
    },
    /// What was to be written could not be read, or what was read could not be written.
    File(Box<Failure>),
}

impl CutShort {
    /// Returns a sentence that tells the user what to do about it.
    pub(crate) fn way_out(&self) -> Cow<'static, str> {
        let next = match &self.done {
            Done::Blocks { lba, blocks, .. } => lba.saturating_add(*blocks),
            Done::Reads { .. } => 0,
        };
        match (&self.cause, &self.done) {
            (Cause::File(failure), _) => failure.way_out(),
            (Cause::NoRoom { .. }, _) => {
                "`vfio nvme identify` shows how many blocks each namespace has.".into()
            }
            (_, Done::Reads { .. }) => "The figures are those of the reads until then.".into(),
            (Cause::Interrupted, Done::Blocks { .. }) => {
                format!("--lba {next} goes on from there.").into()
            }
            (Cause::Controller(_), Done::Blocks { way: Way::Read, .. }) => {
                format!("Block {next} is the first that is missing.").into()
            }
            (
                Cause::Controller(_),
                Done::Blocks {
                    way: Way::Written, ..
                },
            ) => format!("Some of the blocks from {next} on may have been written as well.").into(),
        }
    }

    /// Returns the exit status of the program.
    pub(crate) fn status(&self) -> ExitCode {
        match &self.cause {
            Cause::Interrupted => ExitCode::from(INTERRUPTED),
            Cause::File(failure) => failure.status(),
            Cause::Controller(_) | Cause::NoRoom { .. } => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for CutShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.done, self.cause)
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocks {
                way,
                name,
                namespace,
                lba,
                blocks,
            } => {
                let way = match way {
                    Way::Read => "read",
                    Way::Written => "written",
                };
                match lba.saturating_add(*blocks).checked_sub(1) {
                    Some(last) if *blocks > 0 => write!(
                        f,
                        "{blocks} blocks of namespace {namespace} of {name} were {way}, the last \
                         of them {last}"
                    ),
                    _ => write!(f, "no block of namespace {namespace} of {name} was {way}"),
                }
            }
            Self::Reads {
                name,
                reads,
                seconds,
            } => write!(
                f,
                "{name}: measuring ended after {reads} reads in {seconds:.1} s"
            ),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => f.write_str("interrupted"),
            Self::Controller(message) => f.write_str(message),
            Self::NoRoom { room } => {
                write!(
                    f,
                    "the input is longer than the {room} blocks that there are for it"
                )
            }
            Self::File(failure) => failure.fmt(f),
        }
    }
}
