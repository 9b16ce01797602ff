//! Open files.

use std::fmt;
use std::sync::Arc;

use crate::sim::files::{File, Share};
use crate::sim::ledger::Ledger;

/// An open file of a [`Kernel`](crate::sim::Kernel); dropping it closes it.
pub struct Fd {
    ledger: Arc<Ledger>,
    share: Share,
}

impl Fd {
    pub(in crate::sim) fn new(ledger: &Arc<Ledger>, share: Share) -> Self {
        Self {
            ledger: Arc::clone(ledger),
            share,
        }
    }

    pub(in crate::sim) const fn share(&self) -> &Share {
        &self.share
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        self.ledger.count(|calls| &mut calls.close);
    }
}

impl fmt::Debug for Fd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file: Option<File> = self.share.file().ok();
        f.debug_tuple("Fd").field(&file).finish()
    }
}
