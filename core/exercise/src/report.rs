//! How the steps went.

use core::convert::Infallible;
use core::fmt;

use vfio_core::device::irq::IrqError;

/// How a step went; `E` is how the driver can fail, and `L` what can be lost by that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Outcome<E, L = Infallible> {
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
    /// Something that the steps used is not as it was before, or may not be.
    Lost(L),
}

/// How each of the `N` steps `S` went ([`Outcome`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Report<S, E, L, const N: usize> {
    /// Holds them in their order.
    pub steps: [(S, Outcome<E, L>); N],
}

impl<E, L> Outcome<E, L> {
    /// Tells whether nothing is wrong: what the device does not have can't be.
    #[must_use]
    pub const fn passed(&self) -> bool {
        matches!(self, Self::Passed | Self::NotThere)
    }
}

impl<S, E, L, const N: usize> Report<S, E, L, N> {
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
    pub(crate) fn keep<T>(&mut self, step: S, result: Result<T, Outcome<E, L>>) -> Option<T>
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
pub(crate) fn same<E, L>(
    expected: impl Into<u64>,
    got: impl Into<u64>,
) -> Result<(), Outcome<E, L>> {
    let (expected, got) = (expected.into(), got.into());
    if expected == got {
        Ok(())
    } else {
        Err(Outcome::Wrong { expected, got })
    }
}

impl<E, L> From<E> for Outcome<E, L> {
    fn from(error: E) -> Self {
        Self::Device(error)
    }
}

impl<E: fmt::Display, L: fmt::Display> fmt::Display for Outcome<E, L> {
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
            Self::Lost(lost) => lost.fmt(f),
        }
    }
}
