//! What this process may do, as far as opening a device depends on it.

use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};

/// The rights and limits of the process that wants to open a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// It has `CAP_IPC_LOCK`: the kernel counts no locked memory against it.
    pub ipc_lock: bool,
    /// It has `CAP_SYS_RAWIO`, which opening a device without an IOMMU takes.
    pub sys_rawio: bool,
    /// The soft limit on locked memory (`RLIMIT_MEMLOCK`), in bytes; `None` is unlimited.
    pub memlock: Option<u64>,
    /// The hard limit on locked memory, up to which the process itself may raise the soft one, in bytes.
    pub memlock_max: Option<u64>,
}

impl Caller {
    /// Returns the rights of the calling thread. Rights that the kernel does not tell count as
    /// missing.
    #[must_use]
    pub fn current() -> Self {
        let effective = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
        let limit = getrlimit(Resource::Memlock);
        Self {
            ipc_lock: effective.contains(CapabilitySet::IPC_LOCK),
            sys_rawio: effective.contains(CapabilitySet::SYS_RAWIO),
            memlock: limit.current,
            memlock_max: limit.maximum,
        }
    }
}
