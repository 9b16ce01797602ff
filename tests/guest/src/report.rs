//! The results, as lines on the results port.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use anyhow::Result;
use vfio_guest::{Case, Line, Outcome};

/// The reason why a check is passed over: this kernel does not have what the check is about.
#[derive(Debug)]
pub(crate) struct NotRun(pub(crate) String);

impl core::fmt::Display for NotRun {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for NotRun {}

/// The results so far.
pub(crate) struct Report {
    port: File,
    cases: usize,
}

impl Report {
    pub(crate) fn new(port: File) -> Self {
        Self { port, cases: 0 }
    }

    /// Writes how a case ended: `verdict` holds what was seen, or why it failed or was not run.
    ///
    /// # Errors
    ///
    /// The port cannot be written.
    pub(crate) fn case(
        &mut self,
        case: Case,
        verdict: &Result<String>,
        time: Duration,
    ) -> Result<()> {
        let (result, detail) = match verdict {
            Ok(seen) => (Outcome::Passed, seen.clone()),
            Err(error) if error.is::<NotRun>() => (Outcome::NotRun, format!("{error:#}")),
            Err(error) => (Outcome::Failed, format!("{error:#}")),
        };
        self.cases += 1;
        self.line(&Line::Verdict {
            case,
            result,
            detail,
            milliseconds: u64::try_from(time.as_millis())?,
        })
    }

    /// Writes the last line and waits until the port has sent it.
    ///
    /// # Errors
    ///
    /// The port cannot be written.
    pub(crate) fn finish(mut self) -> Result<()> {
        let kernel = rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned();
        self.line(&Line::Summary {
            cases: self.cases,
            kernel,
        })?;
        Ok(rustix::termios::tcdrain(&self.port)?)
    }

    fn line(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        Ok(self.port.write_all(text.as_bytes())?)
    }
}
