//! How the steps of an exercise went.

use core::fmt;

use vfio_core::device::irq::IrqError;

use crate::nvme::{NvmeError, Refused};

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Step {
    /// The controller starts, and says what it is.
    Start,
    /// It has a namespace that can be used.
    Namespace,
    /// What is written is read, at every length up to that of a slot, with PRP lists.
    RoundTrip,
    /// As many commands at a time as the queue takes.
    Depth,
    /// A flush.
    Flush,
    /// Zeros that are not sent.
    WriteZeroes,
    /// Blocks that are not needed any more.
    Deallocate,
    /// Two queue pairs at once.
    Queues,
    /// A completion that an interrupt tells of.
    Interrupt,
    /// A command that fails does so alone, with its status.
    Status,
    /// The error log can be read.
    ErrorLog,
    /// A command is aborted, or completes before it is.
    Abort,
    /// The controller tells of a temperature.
    Event,
    /// The controller stops, and starts again.
    Restart,
    /// What was on the blocks that were used is there again.
    Restore,
    /// The controller shuts down.
    ShutDown,
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Outcome<E> {
    /// As it should.
    Passed,
    /// The controller does not have what it is about.
    NotThere,
    /// A value is not the one that it should be.
    Wrong {
        /// What it should be.
        expected: u64,
        /// What it is.
        got: u64,
    },
    /// The driver failed.
    Device(NvmeError<E>),
    /// Interrupts could not be had.
    Irq(IrqError),
    /// A step before it failed.
    NotRun,
    /// It was told to end before ([`Lent::ends`](super::Lent::ends)).
    Ended,
    /// What was on the blocks that were used is not there again, or may not be. It is in what was
    /// lent to keep it ([`Lent::kept`](super::Lent::kept)).
    NotRestored {
        /// The namespace.
        namespace: u32,
        /// The first of the blocks.
        lba: u64,
        /// How many there are.
        blocks: u32,
        /// Bytes of what was kept of them: the blocks, and then the metadata that are apart.
        len: usize,
        /// Why; none where what was written is not what is read.
        error: Option<NvmeError<E>>,
    },
}

/// How each step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Report<E> {
    /// In their order.
    pub steps: [(Step, Outcome<E>); Step::ALL.len()],
}

impl Step {
    /// All steps, in the order in which they are made.
    pub const ALL: [Self; 16] = [
        Self::Start,
        Self::Namespace,
        Self::RoundTrip,
        Self::Depth,
        Self::Flush,
        Self::WriteZeroes,
        Self::Deallocate,
        Self::Queues,
        Self::Interrupt,
        Self::Status,
        Self::ErrorLog,
        Self::Abort,
        Self::Event,
        Self::Restart,
        Self::Restore,
        Self::ShutDown,
    ];

    /// A name in `snake_case`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Namespace => "namespace",
            Self::RoundTrip => "round_trip",
            Self::Depth => "depth",
            Self::Flush => "flush",
            Self::WriteZeroes => "write_zeroes",
            Self::Deallocate => "deallocate",
            Self::Queues => "queues",
            Self::Interrupt => "interrupt",
            Self::Status => "status",
            Self::ErrorLog => "error_log",
            Self::Abort => "abort",
            Self::Event => "event",
            Self::Restart => "restart",
            Self::Restore => "restore",
            Self::ShutDown => "shut_down",
        }
    }
}

impl<E> Report<E> {
    pub(super) fn new() -> Self {
        Self {
            steps: Step::ALL.map(|step| (step, Outcome::NotRun)),
        }
    }

    /// Whether every step passed, or was about something that the controller does not have.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.steps
            .iter()
            .all(|(_, outcome)| matches!(outcome, Outcome::Passed | Outcome::NotThere))
    }

    /// Keeps how a step went, and returns what came of it.
    pub(super) fn keep<T>(&mut self, step: Step, result: Result<T, Outcome<E>>) -> Option<T> {
        let (outcome, value) = match result {
            Ok(value) => (Outcome::Passed, Some(value)),
            Err(outcome) => (outcome, None),
        };
        if let Some(slot) = self.steps.iter_mut().find(|(known, _)| *known == step) {
            slot.1 = outcome;
        }
        value
    }
}

impl<E> From<NvmeError<E>> for Outcome<E> {
    fn from(error: NvmeError<E>) -> Self {
        Self::Device(error)
    }
}

impl<E> From<Refused> for Outcome<E> {
    fn from(refused: Refused) -> Self {
        Self::Device(NvmeError::Request(refused.reason))
    }
}

impl<E: fmt::Display> fmt::Display for Outcome<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::NotThere => f.write_str("the controller does not have it"),
            Self::Wrong { expected, got } => write!(f, "{got:#x} in place of {expected:#x}"),
            Self::Device(error) => error.fmt(f),
            Self::Irq(error) => error.fmt(f),
            Self::NotRun => f.write_str("not run, because a step before it failed"),
            Self::Ended => f.write_str("not run, because it was told to end"),
            Self::NotRestored {
                namespace,
                lba,
                blocks,
                error,
                ..
            } => {
                write!(
                    f,
                    "NOT RESTORED: {blocks} blocks from {lba} on of namespace {namespace} have not \
                     what they had before: "
                )?;
                match error {
                    Some(error) => error.fmt(f),
                    None => f.write_str("what is read there is not what was written"),
                }
            }
        }
    }
}
