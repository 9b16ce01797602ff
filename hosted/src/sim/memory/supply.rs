//! How much memory for DMA the simulated host has given out, and its pool of huge pages.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use vfio_core::sys::Errno;

use crate::lock::lock;

/// Bytes of a huge page.
pub(in crate::sim) const HUGE_PAGE: usize = 2 << 20;

/// What is given out, and what is left.
#[derive(Default)]
pub(in crate::sim) struct Supply {
    live: AtomicUsize,
    huge: Mutex<usize>,
}

/// A piece that was given out; taken back on drop.
pub(super) struct Share {
    supply: Arc<Supply>,
    /// Huge pages.
    huge: usize,
}

impl Supply {
    /// Takes a piece out, with its huge pages if it has any.
    pub(super) fn take(self: &Arc<Self>, huge: usize) -> Result<Share, Errno> {
        let mut left = lock(&self.huge);
        *left = left.checked_sub(huge).ok_or(Errno::ENOMEM)?;
        drop(left);
        self.live.fetch_add(1, Ordering::AcqRel);
        let supply = Arc::clone(self);
        Ok(Share { supply, huge })
    }

    /// Puts huge pages into the pool.
    pub(in crate::sim) fn reserve(&self, huge: usize) {
        let mut left = lock(&self.huge);
        *left = left.saturating_add(huge);
    }

    /// Returns how many pieces are given out.
    pub(in crate::sim) fn live(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    /// Returns how many huge pages nobody has.
    pub(in crate::sim) fn free_huge_pages(&self) -> usize {
        *lock(&self.huge)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.supply.live.fetch_sub(1, Ordering::AcqRel);
        self.supply.reserve(self.huge);
    }
}
