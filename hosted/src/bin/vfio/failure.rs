//! Why a command failed, with a way out.

use std::fmt;
use std::io;
use std::process::ExitCode;

use vfio_hosted::discovery::DiscoveryError;

/// Why a command failed. Its `Display` is one sentence, without the full stop.
pub(crate) enum Failure {
    /// The devices could not be found.
    Discovery(DiscoveryError),
    /// The output could not be written.
    Output(io::Error),
}

impl Failure {
    /// What the user can do about it, as a sentence.
    pub(crate) fn way_out(&self) -> &'static str {
        match self {
            Self::Discovery(DiscoveryError::NoSuchDevice(_)) => {
                "`vfio list` shows the devices that there are."
            }
            Self::Discovery(DiscoveryError::Read { .. }) => {
                "See that sysfs is mounted (`sudo mount -t sysfs sysfs /sys`) and readable."
            }
            Self::Discovery(DiscoveryError::Malformed { .. }) => {
                "This is not what Linux puts there: see that /sys is sysfs (`findmnt /sys`)."
            }
            Self::Output(_) => "See that what the output goes to has room (`df .`).",
        }
    }

    /// What the program exits with.
    pub(crate) fn status(&self) -> ExitCode {
        match self {
            // Whoever reads the output has had enough of it, as `head` does.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Self::Discovery(_) | Self::Output(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discovery(error) => error.fmt(f),
            Self::Output(error) => write!(f, "cannot write the output: {error}"),
        }
    }
}

impl From<DiscoveryError> for Failure {
    fn from(error: DiscoveryError) -> Self {
        Self::Discovery(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
