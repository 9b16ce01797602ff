//! What the guest and its host say to each other.
//!
//! The host puts a [`Plan`] into the guest at [`PLAN`]; the guest writes [`Line`]s, one JSON object each, to [`RESULTS`].

use core::fmt;

use serde::{Deserialize, Serialize};

/// Where the guest finds its plan, as JSON.
pub const PLAN: &str = "/etc/guest.json";

/// Where the guest writes its results: the second serial port.
pub const RESULTS: &str = "/dev/ttyS1";

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

impl Device {
    /// The device's directory in sysfs.
    #[must_use]
    pub fn sysfs(&self) -> String {
        match &self.kind {
            Kind::Pci { bdf, .. } => format!("/sys/bus/pci/devices/{bdf}"),
            Kind::Mdev { uuid, .. } => format!("/sys/bus/mdev/devices/{uuid}"),
        }
    }

    /// The device's name in sysfs, which is also what `VFIO_GROUP_GET_DEVICE_FD` takes.
    #[must_use]
    pub fn address(&self) -> &str {
        match &self.kind {
            Kind::Pci { bdf, .. } => bdf,
            Kind::Mdev { uuid, .. } => uuid,
        }
    }
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
