//! How much memory for DMA the simulated host has given out, and its pool of huge pages.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use vfio_core::sys::Errno;

use super::kernel::lock;

/// Bytes of a huge page.
pub(super) const HUGE_PAGE: usize = 2 << 20;

/// What is given out, and what is left.
#[derive(Default)]
pub(super) struct Supply {
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
    /// Takes a piece out, of so many huge pages or of none.
    pub(super) fn take(self: &Arc<Self>, huge: usize) -> Result<Share, Errno> {
        let mut left = lock(&self.huge);
        *left = left.checked_sub(huge).ok_or(Errno::ENOMEM)?;
        drop(left);
        self.live.fetch_add(1, Ordering::AcqRel);
        let supply = Arc::clone(self);
        Ok(Share { supply, huge })
    }

    /// Puts so many huge pages into the pool.
    pub(super) fn reserve(&self, huge: usize) {
        let mut left = lock(&self.huge);
        *left = left.saturating_add(huge);
    }

    /// How many pieces are given out.
    pub(super) fn live(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    /// How many huge pages nobody has.
    pub(super) fn free_huge_pages(&self) -> usize {
        *lock(&self.huge)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.supply.live.fetch_sub(1, Ordering::AcqRel);
        self.supply.reserve(self.huge);
    }
}
