//! Open files.

use std::fmt;
use std::format;
use std::string::String;
use std::sync::Arc;

use super::Shared;

/// An open file of a [`Kernel`](super::Kernel); dropping it closes it.
pub struct Fd {
    pub(super) kernel: Arc<Shared>,
    pub(in crate::sim) id: u64,
}

impl Drop for Fd {
    fn drop(&mut self) {
        self.kernel.count(|calls| &mut calls.close);
        self.kernel.session().release(self.id);
    }
}

impl fmt::Debug for Fd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file: Option<String> = self
            .kernel
            .session()
            .file(self.id)
            .ok()
            .map(|file| format!("{file:?}"));
        f.debug_tuple("Fd").field(&file).finish()
    }
}
