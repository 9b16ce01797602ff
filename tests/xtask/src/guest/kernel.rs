//! The kernels to test.

use std::convert::Infallible;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, Result, ensure};

use super::archive::Archive;
use super::package;

/// The environment variable that names a kernel built for the tests.
const VARIABLE: &str = "VFIO_GUEST_KERNEL";

/// Which kernel is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The distribution's own.
    Debian,
    /// The one in the distribution's backports.
    DebianBackports,
    /// The one that `VFIO_GUEST_KERNEL` names.
    Given,
    /// The one at this path, which needs no modules.
    Path(PathBuf),
}

impl Choice {
    /// What is tested where nothing is asked for.
    pub(crate) const DEFAULT: [Self; 2] = [Self::Debian, Self::Given];

    /// Returns why this kernel is not to be tested here. `None` where it is.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        (*self == Self::Given && given().is_none()).then_some("VFIO_GUEST_KERNEL is not set")
    }

    /// Tells whether the kernel may have been built for the tests, with the mdev samples and IOMMUFD.
    pub(crate) fn is_built_for_tests(&self) -> bool {
        matches!(self, Self::Given | Self::Path(_))
    }
}

impl FromStr for Choice {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "debian" => Self::Debian,
            "debian-backports" => Self::DebianBackports,
            "given" => Self::Given,
            path => Self::Path(path.into()),
        })
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Debian => f.write_str("debian"),
            Self::DebianBackports => f.write_str("debian-backports"),
            Self::Given => f.write_str("given"),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

/// A kernel that can be booted.
pub(crate) struct Kernel {
    /// Its name in reports and the name of its directory.
    pub(crate) name: String,
    /// The bzImage.
    pub(crate) image: PathBuf,
    /// Its directory of modules (`lib/modules/RELEASE`), where it has modules.
    pub(crate) modules: Option<PathBuf>,
}

/// Makes the chosen kernel ready to boot, fetching it where it is a distribution's.
///
/// # Errors
///
/// It is not there, or cannot be fetched.
pub(crate) fn obtain(choice: &Choice) -> Result<Kernel> {
    match choice {
        Choice::Debian => package::obtain(&distribution(Archive::own)?),
        Choice::DebianBackports => package::obtain(&distribution(Archive::backports)?),
        Choice::Given => whole(Path::new(&given().unwrap_or_default())),
        Choice::Path(path) => whole(path),
    }
}

/// Returns where a distribution's kernel is from.
fn distribution(archive: fn() -> Result<Archive>) -> Result<Archive> {
    archive().context("name another kernel with `cargo xtask guest --kernel PATH`")
}

/// Returns a kernel with everything built in.
fn whole(image: &Path) -> Result<Kernel> {
    ensure!(
        image.is_file(),
        "there is no kernel at {}; give the path of a bzImage by {VARIABLE} or --kernel",
        image.display()
    );
    // QEMU runs in a directory of its own.
    let image = std::path::absolute(image)?;
    let name = image
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Ok(Kernel {
        name,
        image,
        modules: None,
    })
}

/// Returns the value of `VFIO_GUEST_KERNEL`. An empty value counts as none.
fn given() -> Option<OsString> {
    env::var_os(VARIABLE).filter(|value| !value.is_empty())
}
