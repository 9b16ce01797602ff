//! What the guest and its host say to each other.
//!
//! The host puts a [`Plan`] into the guest at [`PLAN`]; the guest writes [`Line`]s, one JSON object each, to [`RESULTS`].

use core::fmt;

use serde::{Deserialize, Serialize};

/// Where the guest finds its plan, as JSON.
pub const PLAN: &str = "/etc/guest.json";

/// Where the guest writes its results: the second serial port.
pub const RESULTS: &str = "/dev/ttyS1";

/// Where a guest that measures has fio, the loader that starts it and the libraries that it takes, if it has them.
pub const FIO: &str = "bin/fio";
/// The loader.
pub const LOADER: &str = "lib/ld-linux-x86-64.so.2";

/// What a guest is to set up and to test.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Kernel modules to load, as paths in the guest, each after those that it needs.
    pub modules: Vec<String>,
    /// The devices to test.
    pub devices: Vec<Device>,
    /// How many seconds a storm of copies lasts.
    #[serde(default)]
    pub storm: u64,
    /// Whether the machine has no IOMMU, so that VFIO is told to do without.
    #[serde(default)]
    pub noiommu: bool,
    /// Whether figures are wanted in place of checks.
    #[serde(default)]
    pub bench: bool,
    /// Whether the machine's time stamp counter counts instructions, and these are wanted.
    #[serde(default)]
    pub counted: bool,
    /// Whether the machine loses its power at the end of the checks, which are those that are about that.
    #[serde(default)]
    pub power_cut: bool,
}

/// A device that the guest is to test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The name of the device in reports, unique in its plan.
    pub name: String,
    /// What the device is and where it sits.
    pub kind: Kind,
    /// Why the machine does not have it, where it does not: each of its checks is then not run.
    #[serde(default)]
    pub missing: Option<String>,
}

/// What a device is and where it sits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A PCI device, to be bound to vfio-pci.
    Pci {
        /// Its address, `domain:bus:device.function` as sysfs writes it.
        bdf: String,
        /// Its vendor ID.
        vendor: u16,
        /// Its device ID.
        device: u16,
    },
    /// A mediated device, to be created where the kernel has its sample driver.
    Mdev {
        /// The UUID under which it is created.
        uuid: String,
        /// The parent driver, as `/sys/class/mdev_bus/PARENT` is named.
        parent: String,
        /// Its type, as the directory under `mdev_supported_types` is named.
        mdev_type: String,
    },
}

impl Plan {
    /// Tells whether it is timed how fast the kernel's own drivers are.
    #[must_use]
    pub const fn is_timed(&self) -> bool {
        self.bench && !self.counted && !self.noiommu
    }
}

impl Device {
    /// Returns the device's directory in sysfs.
    #[must_use]
    pub fn sysfs(&self) -> String {
        match &self.kind {
            Kind::Pci { bdf, .. } => format!("/sys/bus/pci/devices/{bdf}"),
            Kind::Mdev { uuid, .. } => format!("/sys/bus/mdev/devices/{uuid}"),
        }
    }

    /// Returns the device's name in sysfs, which is also what `VFIO_GROUP_GET_DEVICE_FD` takes.
    #[must_use]
    pub fn address(&self) -> &str {
        match &self.kind {
            Kind::Pci { bdf, .. } => bdf,
            Kind::Mdev { uuid, .. } => uuid,
        }
    }
}

/// Bytes that are written before the power goes, the same in the guest and on its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Where they begin on the disk: a multiple of 4096.
    pub at: u64,
    /// How many: a multiple of 4096.
    pub len: u64,
    seed: u64,
}

impl Stretch {
    /// Stretches at random places of a disk of `len` bytes, in the order in which they are written: they overlap.
    pub fn of_disk(len: u64) -> impl Iterator<Item = Self> {
        let mut state = 0x5eed_000f_d15c;
        (0..40).map(move |_| {
            let pages = len / 4096;
            let at = xorshift(&mut state) % pages;
            let most = (pages - at).min(64);
            Self {
                at: at * 4096,
                len: (1 + xorshift(&mut state) % most) * 4096,
                seed: state,
            }
        })
    }

    /// Returns the bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut state = self.seed;
        let words = (0..self.len / 8).flat_map(|_| xorshift(&mut state).to_le_bytes());
        words.collect()
    }
}

fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// One check on one device, or on the guest as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Case {
    /// The name of the check.
    pub check: String,
    /// The name of the device, where the check runs on each device.
    pub device: Option<String>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.device {
            Some(device) => write!(f, "{} on {device}", self.check),
            None => f.write_str(&self.check),
        }
    }
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything that the check asks for holds.
    Passed,
    /// Something that the check asks for does not hold.
    Failed,
    /// This kernel does not have what the check is about.
    NotRun,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotRun => "not run",
        })
    }
}

/// One line of the guest's results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// How a case ended.
    Verdict {
        /// The case.
        #[serde(flatten)]
        case: Case,
        /// How it ended.
        result: Outcome,
        /// What was seen, or why it failed or was not run.
        detail: String,
        /// How long it took, where the guest tells.
        #[serde(default)]
        milliseconds: u64,
    },
    /// What the host is to do to the machine.
    Ask {
        /// The QEMU id of a device that is to be unplugged.
        unplug: String,
    },
    /// The last line, which says that nothing is missing.
    Summary {
        /// The number of cases that ran or were passed over.
        cases: usize,
        /// The kernel's release, as `uname -r` prints it.
        kernel: String,
    },
}
