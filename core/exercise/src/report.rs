//! How the steps went.

use core::fmt;

use vfio_core::device::irq::IrqError;

/// How a step went; `E` is how the driver can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Outcome<E> {
    /// It went as it should.
    Passed,
    /// The device does not have what the step is about.
    NotThere,
    /// A value is not the one that it should be.
    Wrong {
        /// What it should be.
        expected: u64,
        /// What it is.
        got: u64,
    },
    /// The driver failed.
    Device(E),
    /// Memory could not be read or written.
    Memory,
    /// Interrupts could not be had.
    Irq(IrqError),
    /// A step before it failed.
    NotRun,
    /// The caller ended it before ([`Lent::ends`](crate::nvme::Lent::ends)).
    Ended,
    /// The blocks that were used do not have what they had before, or may not.
    ///
    /// That is in what was lent to keep it ([`Lent::kept`](crate::nvme::Lent::kept)).
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
        error: Option<E>,
    },
}

/// How each of the `N` steps `S` went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Report<S, E, const N: usize> {
    /// Holds them in their order.
    pub steps: [(S, Outcome<E>); N],
}

impl<E> Outcome<E> {
    /// Tells whether nothing is wrong: what the device does not have can't be.
    #[must_use]
    pub const fn passed(&self) -> bool {
        matches!(self, Self::Passed | Self::NotThere)
    }
}

impl<S, E, const N: usize> Report<S, E, N> {
    pub(crate) fn new(steps: [S; N]) -> Self {
        Self {
            steps: steps.map(|step| (step, Outcome::NotRun)),
        }
    }

    /// Tells whether every step passed, or was about something that the device does not have.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.steps.iter().all(|(_, outcome)| outcome.passed())
    }

    /// Keeps how a step went, and returns what came of it.
    pub(crate) fn keep<T>(&mut self, step: S, result: Result<T, Outcome<E>>) -> Option<T>
    where
        S: PartialEq,
    {
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

/// Compares a value with what it should be.
pub(crate) fn same<E>(expected: impl Into<u64>, got: impl Into<u64>) -> Result<(), Outcome<E>> {
    let (expected, got) = (expected.into(), got.into());
    if expected == got {
        Ok(())
    } else {
        Err(Outcome::Wrong { expected, got })
    }
}

impl<E> From<E> for Outcome<E> {
    fn from(error: E) -> Self {
        Self::Device(error)
    }
}

impl<E: fmt::Display> fmt::Display for Outcome<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::NotThere => f.write_str("the device does not have it"),
            Self::Wrong { expected, got } => write!(f, "{got:#x} in place of {expected:#x}"),
            Self::Device(error) => error.fmt(f),
            Self::Memory => f.write_str("memory can't be reached"),
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
