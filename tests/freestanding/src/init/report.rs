//! The results, as the guest's host reads them: JSON, an object to a line.

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use vfio_freestanding::checks::{Check, DEVICE};

use crate::failure::Failure;
use crate::system;
use crate::text::Text;

/// The port of the results.
pub(crate) struct Report {
    port: OwnedFd,
    cases: u64,
}

impl Report {
    /// Opens the second serial port.
    pub(crate) fn open() -> Result<Self, Failure> {
        let port = rustix::fs::open(c"/dev/ttyS1", OFlags::WRONLY, Mode::empty())
            .map_err(|errno| system::failed("/dev/ttyS1", errno))?;
        Ok(Self { port, cases: 0 })
    }

    /// Writes how a check ended: with what was seen, or why it failed.
    pub(crate) fn verdict(
        &mut self,
        check: Check,
        verdict: Result<Text, Failure>,
    ) -> Result<(), Failure> {
        let (result, detail) = match verdict {
            Ok(seen) => ("passed", seen),
            Err(failure) => ("failed", failure.text()),
        };
        self.cases = self.cases.saturating_add(1);
        let parts: [&[u8]; 9] = [
            b"{\"check\":\"",
            check.name().as_bytes(),
            b"\",\"device\":\"",
            DEVICE.as_bytes(),
            b"\",\"result\":\"",
            result.as_bytes(),
            b"\",\"detail\":\"",
            detail.as_bytes(),
            b"\"}\n",
        ];
        parts
            .into_iter()
            .try_for_each(|part| system::write_all(&self.port, part))
    }

    /// Writes the last line and waits until the port has sent it.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        let kernel = rustix::system::uname();
        let cases = Text::new().decimal(self.cases);
        let parts: [&[u8]; 5] = [
            b"{\"cases\":",
            cases.as_bytes(),
            b",\"kernel\":\"",
            kernel.release().to_bytes(),
            b"\"}\n",
        ];
        parts
            .into_iter()
            .try_for_each(|part| system::write_all(&self.port, part))?;
        rustix::termios::tcdrain(&self.port).map_err(|errno| system::failed("tcdrain", errno))
    }
}
