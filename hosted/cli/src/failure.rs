//! Why a command failed, with a way out.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use vfio_core::open::SessionError;
use vfio_core::sys::Errno;
use vfio_core::wire::info::Malformed;
use vfio_hosted::discovery::{Address, BindError, DiscoveryError, Obstacle};
use vfio_hosted::report::Trouble;
use vfio_hosted::vfio_user::{ClientError, ServeError};

use crate::access_error::AccessError;
use crate::bind;
use crate::nvme::cut_short::CutShort;
use crate::remedy;

/// What the program exits with where a reply is malformed.
pub(crate) const MALFORMED: u8 = 3;
/// What the program exits with for a wrong usage, and where a file can't be read.
pub(crate) const USAGE: u8 = 2;

/// Why a command failed. Its `Display` is one sentence, without the full stop.
pub(crate) enum Failure {
    /// The devices could not be found.
    Discovery(DiscoveryError),
    /// The output could not be written.
    Output(io::Error),
    /// A file could not be read.
    Input {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold pairs of hexadecimal digits.
    NotHex {
        /// The file.
        path: PathBuf,
    },
    /// A captured reply is malformed.
    Malformed(Malformed),
    /// Something stands in the way of opening a device.
    Obstacle {
        /// The device.
        address: Address,
        /// What it is.
        obstacle: Obstacle,
    },
    /// A device could not be opened.
    Open {
        /// Its name.
        name: String,
        /// At which step, and why.
        error: SessionError,
    },
    /// No PCI device is behind a name.
    NothingBehind {
        /// The name.
        name: String,
    },
    /// The process that serves a device could not be talked to.
    Served {
        /// The device's name.
        name: String,
        /// Why.
        failure: ClientError,
    },
    /// A model could not be served.
    Serve {
        /// The path of the socket.
        path: PathBuf,
        /// Why.
        error: ServeError,
    },
    /// A device was not given to vfio-pci, or not given back.
    Bind(BindError),
    /// A device could not be made ready for its driver.
    Drive {
        /// The device's name.
        name: String,
        /// What went wrong before the driver's first step.
        message: String,
    },
    /// What would be written over belongs to somebody.
    Holds {
        /// The device's name.
        name: String,
        /// The namespace.
        namespace: u32,
        /// What is there.
        what: &'static str,
    },
    /// What would be written over for a while belongs to somebody.
    Borrows {
        /// The device, or the namespace of one.
        name: String,
        /// What is there.
        what: &'static str,
    },
    /// Blocks that are not there were asked for.
    NoBlocks {
        /// The device's name.
        name: String,
        /// The namespace.
        namespace: u32,
        /// How many blocks it has.
        size: u64,
        /// The first block that was asked for.
        lba: u64,
        /// How many were; at least one.
        blocks: u64,
    },
    /// There is nothing to be written.
    Empty {
        /// The file that has nothing.
        path: PathBuf,
    },
    /// Work with a controller ended before its end.
    CutShort(CutShort),
    /// Signals can't be caught.
    Signals {
        /// Why.
        message: String,
    },
    /// A device is not of the kind that the driver is for.
    Unsuitable {
        /// The device.
        address: Address,
        /// What the driver is for.
        wanted: &'static str,
        /// What tells that the device is something else.
        found: String,
    },
    /// A device was not reset.
    Reset {
        /// Its name.
        name: String,
        /// Why.
        errno: Errno,
    },
    /// A question to a device had no usable answer.
    Trouble {
        /// Its name.
        name: String,
        /// The question, and why.
        trouble: Trouble,
    },
    /// A register or a region was not reached.
    Access(AccessError),
    /// A file could not be written.
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Failure {
    /// Returns all that is said of it: what failed, and what the user can do about it.
    pub(crate) fn sentences(&self) -> String {
        format!("{self}. {}", self.way_out())
    }

    /// Returns the kind of the failure as JSON names it.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Discovery(_) => "discovery",
            Self::Output(_) => "output",
            Self::Input { .. } => "input",
            Self::NotHex { .. } => "not_hex",
            Self::Malformed(error) => error.kind(),
            Self::Obstacle { .. } => "obstacle",
            Self::Open { .. } => "open",
            Self::NothingBehind { .. } => "nothing_behind",
            Self::Served { .. } => "served",
            Self::Serve { .. } => "serve",
            Self::Bind(_) => "bind",
            Self::Drive { .. } => "drive",
            Self::Holds { .. } => "holds",
            Self::Borrows { .. } => "borrows",
            Self::NoBlocks { .. } => "no_blocks",
            Self::Empty { .. } => "empty",
            Self::CutShort(_) => "cut_short",
            Self::Signals { .. } => "signals",
            Self::Unsuitable { .. } => "unsuitable",
            Self::Reset { .. } => "reset",
            Self::Trouble { .. } => "trouble",
            Self::Access(_) => "access",
            Self::Unwritable { .. } => "unwritable",
        }
    }

    /// Returns a sentence that tells the user what to do about it.
    pub(crate) fn way_out(&self) -> Cow<'static, str> {
        let text = match self {
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
            Self::Input { .. } => "Name a readable file, or - for standard input.",
            Self::NotHex { .. } => {
                "Leave --hex out for a file of bytes, or make digits with `xxd -p`."
            }
            Self::Malformed(_) => {
                "Nothing of it can be trusted: see that --kind is right and that the capture is \
                 as long as the buffer was."
            }
            Self::Obstacle { obstacle, .. } => {
                let remedy = remedy::of(obstacle);
                let advice = remedy.advice.unwrap_or("Mend it:").to_owned();
                let commands = remedy.commands.into_iter();
                let commands = commands.map(|command| format!("\n    {command}"));
                return std::iter::once(advice)
                    .chain(commands)
                    .collect::<String>()
                    .into();
            }
            Self::Open {
                error: SessionError::NoIommu,
                ..
            } => "Say --mode noiommu to acknowledge it.",
            Self::Open { .. } => "`vfio list` tells what stands in the way of each device.",
            Self::NothingBehind { .. } => {
                "Name a PCI address, a network interface or a disk; `vfio list` shows them."
            }
            Self::Bind(error) => return bind::way_out(error),
            Self::Served { .. } => {
                "`vfio serve` serves a model; another server must speak vfio-user 0.x."
            }
            Self::Serve {
                error: ServeError::InUse,
                ..
            } => "Stop it, or take another path.",
            Self::Serve { .. } => "Name a path in a directory that can be written.",
            Self::Reset {
                errno: Errno::EINVAL,
                ..
            } => {
                "It has no reset of its own; `vfio inspect` shows whether it can be reset with \
                 its bus or slot."
            }
            Self::Drive { .. } => "`vfio inspect` shows what the device has.",
            Self::Holds { .. } => "Say --yes to write all the same: what is there is lost then.",
            Self::Borrows { .. } => {
                "Say --yes to try the driver all the same: what is on the blocks that it uses is \
                 put back at the end, unless this program is killed."
            }
            Self::NoBlocks { .. } => {
                "`vfio nvme identify` shows how many blocks each namespace has."
            }
            Self::Empty { .. } => "Name a file that has something to be written.",
            Self::CutShort(cut_short) => return cut_short.way_out(),
            Self::Signals { .. } => "Try again where a process may have more threads and files.",
            Self::Unsuitable { .. } => "`vfio list` shows what each device is.",
            Self::Reset { .. } => "Try again, or see the kernel's log: `sudo dmesg`.",
            Self::Trouble { .. } => "`vfio inspect` shows what the device does answer.",
            Self::Access(error) => return error.way_out(),
            Self::Unwritable { .. } => "Name a file in a directory that can be written.",
        };
        text.into()
    }

    /// Returns the exit status of the program.
    pub(crate) fn status(&self) -> ExitCode {
        match self {
            // Whoever reads the output has had enough of it, as `head` does.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Self::Malformed(_) => ExitCode::from(MALFORMED),
            Self::Input { .. } | Self::NotHex { .. } | Self::Empty { .. } => ExitCode::from(USAGE),
            Self::CutShort(cut_short) => cut_short.status(),
            Self::Trouble { trouble, .. } if trouble.malformed => ExitCode::from(MALFORMED),
            Self::Access(error) => error.status(),
            Self::Discovery(_)
            | Self::Output(_)
            | Self::Obstacle { .. }
            | Self::Open { .. }
            | Self::NothingBehind { .. }
            | Self::Served { .. }
            | Self::Serve { .. }
            | Self::Bind(_)
            | Self::Drive { .. }
            | Self::Holds { .. }
            | Self::Borrows { .. }
            | Self::NoBlocks { .. }
            | Self::Signals { .. }
            | Self::Unsuitable { .. }
            | Self::Reset { .. }
            | Self::Trouble { .. }
            | Self::Unwritable { .. } => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discovery(error) => error.fmt(f),
            Self::Output(error) => write!(f, "cannot write the output: {error}"),
            Self::Input { path, source } => {
                write!(f, "cannot read {}: {source}", path.display())
            }
            Self::NotHex { path } => {
                write!(
                    f,
                    "{} does not hold pairs of hexadecimal digits",
                    path.display()
                )
            }
            Self::Malformed(error) => write!(f, "malformed reply: {error}"),
            Self::Obstacle { address, obstacle } => write!(f, "{address}: {obstacle}"),
            Self::Open { name, error } => write!(f, "{name}: {error}"),
            Self::NothingBehind { name } => {
                write!(f, "no PCI device is behind the name {name:?}")
            }
            Self::Served { name, failure } => write!(f, "{name}: {failure}"),
            Self::Serve { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Bind(error) => error.fmt(f),
            Self::Drive { name, message } => write!(f, "{name} can't be driven: {message}"),
            Self::Holds {
                name,
                namespace,
                what,
            } => write!(f, "namespace {namespace} of {name} holds {what}"),
            Self::Borrows { name, what } => write!(f, "{name} holds {what}"),
            Self::NoBlocks {
                name,
                namespace,
                size,
                lba,
                blocks: 1,
            } => write!(
                f,
                "there is no block {lba} in namespace {namespace} of {name}, which has {size} blocks"
            ),
            Self::NoBlocks {
                name,
                namespace,
                size,
                lba,
                blocks,
            } => write!(
                f,
                "{blocks} blocks from {lba} on are more than namespace {namespace} has: {name} has \
                 {size} blocks there"
            ),
            Self::Empty { path } => write!(f, "{} is empty", path.display()),
            Self::CutShort(cut_short) => cut_short.fmt(f),
            Self::Signals { message } => write!(f, "signals can't be caught: {message}"),
            Self::Unsuitable {
                address,
                wanted,
                found,
            } => write!(f, "{address} is no {wanted}: {found}"),
            Self::Reset { name, errno } => write!(f, "{name} can't be reset: {errno}"),
            Self::Trouble { name, trouble } => {
                write!(f, "{name}: {}: {}", trouble.subject, trouble.message)
            }
            Self::Access(error) => error.fmt(f),
            Self::Unwritable { path, source } => {
                write!(f, "cannot write {}: {source}", path.display())
            }
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

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        Self::Bind(error)
    }
}

impl From<CutShort> for Failure {
    fn from(cut_short: CutShort) -> Self {
        Self::CutShort(cut_short)
    }
}

impl From<AccessError> for Failure {
    fn from(error: AccessError) -> Self {
        Self::Access(error)
    }
}

#[cfg(test)]
mod tests {
    use vfio_hosted::discovery::{Member, NoIommuMode};

    use super::*;

    /// Returns one of each kind.
    fn obstacles() -> Vec<Obstacle> {
        let address: Address = "0000:00:06.0".parse().unwrap();
        let wrong = |driver: Option<&str>| Obstacle::WrongDriver {
            address,
            driver: driver.map(str::to_owned),
        };
        let member = Member {
            name: address.to_string(),
            driver: Some("e1000e".into()),
        };
        let mut obstacles = vec![
            Obstacle::Bridge,
            Obstacle::ModuleMissing,
            wrong(None),
            wrong(Some("e1000e")),
            Obstacle::GroupNotViable {
                group: 7,
                members: vec![member],
            },
            Obstacle::NodeMissing {
                path: "/dev/vfio/7".into(),
            },
            Obstacle::NoPermission {
                paths: vec!["/dev/vfio/vfio".into(), "/dev/vfio/7".into()],
            },
            Obstacle::NoRawIo,
        ];
        obstacles.extend([None, Some(1 << 20)].map(|max| Obstacle::MemlockLimit { limit: 0, max }));
        let modes = [
            NoIommuMode::Off,
            NoIommuMode::NotLoaded,
            NoIommuMode::Unsupported,
        ];
        obstacles.extend(modes.map(|mode| Obstacle::NoIommu { mode }));
        obstacles
    }

    #[test]
    fn every_obstacle_is_told_in_sentences_that_end_once() {
        let address = "0000:00:06.0".parse().unwrap();
        for obstacle in obstacles() {
            assert!(!obstacle.to_string().ends_with('.'), "{obstacle}");
            if let Some(advice) = obstacle.remedy().advice {
                let end = advice.trim_end_matches(['.', ':']);
                assert_eq!(advice.len(), end.len() + 1, "{advice}");
            }
            let said = Failure::Obstacle { address, obstacle }.sentences();
            assert!(!said.contains("..") && said.contains(". "), "{said}");
        }
    }
}
