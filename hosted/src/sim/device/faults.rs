//! The DMA that went wrong.

use std::sync::{Arc, Mutex};
use std::vec::Vec;

use crate::lock::lock;
use crate::model::Fault;

/// The faults of all devices of a kernel, in order.
#[derive(Clone, Default)]
pub(in crate::sim) struct FaultLog(Arc<Mutex<Vec<Fault>>>);

impl FaultLog {
    pub(super) fn push(&self, fault: Fault) {
        lock(&self.0).push(fault);
    }

    pub(in crate::sim) fn all(&self) -> Vec<Fault> {
        lock(&self.0).clone()
    }
}
