//! The NVMe driver on the simulated kernel: what it does with a controller that works, and with
//! one that fails in each way that there is.

mod admin;
mod faults;
mod identity;
mod integrity;
mod odd;
mod opened;
mod poll;
mod start;

use std::time::Duration;

use vfio_core::mmio::Window;
use vfio_core::open::Mode;
use vfio_drivers::nvme::{Namespace, NvmeError, QueueOptions, StatusCode};
use vfio_hosted::model::{
    Nvme, NvmeControl, NvmeFault, NvmeNamespace, NvmeProtection, NvmeRefusal,
};

use opened::{Error, OPTIONS, Opened, Pair, pattern, round_trip, two_namespaces};

/// Returns the code with which a command failed.
fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> StatusCode {
    match result {
        Err(NvmeError::Command(status)) => status.code(),
        other => panic!("{other:?} is no failed command"),
    }
}

/// Bytes of a slot.
fn slots(len: usize) -> QueueOptions {
    QueueOptions {
        slot: len,
        ..Default::default()
    }
}
