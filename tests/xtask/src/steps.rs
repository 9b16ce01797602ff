//! Steps that are announced, go on when one fails, and end in a count.

use std::fmt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::matrix::Matrix;
use crate::side_by_side::side_by_side;

/// How the steps so far ended.
#[derive(Default)]
pub(crate) struct Steps {
    ended: Vec<Step>,
    /// The drivers that ran meanwhile, and where.
    pub(crate) matrix: Matrix,
}

struct Step {
    name: String,
    outcome: Outcome,
    time: Duration,
}

enum Outcome {
    Passed,
    Failed(String),
    NotRun(String),
}

impl Steps {
    /// Announces a step and runs it.
    pub(crate) fn run(&mut self, name: &str, step: impl FnOnce() -> Result<()>) {
        self.ended.push(Step::run(name, step));
    }

    /// Runs steps side by side, and goes on when all have ended. They are kept in their order.
    pub(crate) fn run_side_by_side<F>(&mut self, steps: Vec<(String, F)>)
    where
        F: FnOnce() -> Result<()> + Send,
    {
        let ended = side_by_side(steps, |(name, step)| Step::run(&name, step));
        self.ended.extend(ended);
    }

    /// Runs what has steps of its own side by side, and goes on when all have ended. The steps are
    /// kept in their order.
    pub(crate) fn append_side_by_side<T: Send>(
        &mut self,
        items: Vec<T>,
        run: impl Fn(T) -> Self + Sync,
    ) {
        for other in side_by_side(items, run) {
            self.ended.extend(other.ended);
            self.matrix.append(other.matrix);
        }
    }

    /// Notes a step that was not run.
    pub(crate) fn not_run(&mut self, name: &str, reason: &str) {
        let outcome = Outcome::NotRun(reason.into());
        self.ended.push(Step {
            name: name.into(),
            outcome,
            time: Duration::ZERO,
        });
    }

    /// Notes in the matrix that `driver` ran in `world` in the last step, as which it ended.
    pub(crate) fn drove(&mut self, driver: &str, world: &str) {
        let Some(step) = self.ended.last() else {
            return;
        };
        let (outcome, detail) = match &step.outcome {
            Outcome::Passed => (vfio_guest::Outcome::Passed, ""),
            Outcome::Failed(reason) => (vfio_guest::Outcome::Failed, reason.as_str()),
            Outcome::NotRun(reason) => (vfio_guest::Outcome::NotRun, reason.as_str()),
        };
        self.matrix.add(driver, world, outcome, detail);
    }

    /// Prints and writes the matrix of drivers, if any ran; then prints how each step ended and, alone on the last line, how many passed and failed.
    pub(crate) fn finish(mut self) -> ExitCode {
        if !self.matrix.is_empty() {
            println!("\n== drivers\n{}", self.matrix);
            let written = self.matrix.write();
            if let Err(error) = &written {
                let outcome = Outcome::Failed(format!("{error:#}"));
                self.ended.push(Step {
                    name: "target/matrix.json".into(),
                    outcome,
                    time: Duration::ZERO,
                });
            }
        }
        println!("\n== summary");
        for step in &self.ended {
            println!("{step}");
        }
        let passed = self
            .ended
            .iter()
            .filter(|step| matches!(step.outcome, Outcome::Passed))
            .count();
        let failed = self
            .ended
            .iter()
            .filter(|step| matches!(step.outcome, Outcome::Failed(_)))
            .count();
        println!("{passed} passed, {failed} failed");
        if failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

impl Step {
    /// Announces a step and runs it.
    fn run(name: &str, step: impl FnOnce() -> Result<()>) -> Self {
        println!("\n== {name}");
        let start = Instant::now();
        let outcome = match step() {
            Ok(()) => Outcome::Passed,
            Err(error) => {
                eprintln!("error: {name}: {error:#}.");
                Outcome::Failed(format!("{error:#}"))
            }
        };
        Self {
            name: name.into(),
            outcome,
            time: start.elapsed(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            outcome,
            time,
        } = self;
        match outcome {
            Outcome::Passed => write!(f, "passed   {name} ({:.1} s)", time.as_secs_f64()),
            Outcome::Failed(reason) => write!(f, "failed   {name}: {reason}"),
            Outcome::NotRun(reason) => write!(f, "not run  {name}: {reason}"),
        }
    }
}
