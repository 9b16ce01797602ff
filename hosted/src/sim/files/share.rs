//! Shares in open files.

use std::sync::Arc;

use vfio_core::sys::Errno;

use super::{File, SharedFiles};
use crate::lock::lock;

/// A share in an open file: the file stays open until the last one is dropped.
pub(in crate::sim) struct Share {
    files: SharedFiles,
    id: u64,
}

impl Share {
    /// Takes over the share that opening the file `id` gave.
    pub(in crate::sim) fn new(files: &SharedFiles, id: u64) -> Self {
        let files = Arc::clone(files);
        Self { files, id }
    }

    /// Returns the file that it is, which must be one of `files`.
    pub(in crate::sim) fn file_in(&self, files: &SharedFiles) -> Result<File, Errno> {
        if Arc::ptr_eq(&self.files, files) {
            self.file()
        } else {
            Err(Errno::EBADF)
        }
    }

    pub(in crate::sim) fn file(&self) -> Result<File, Errno> {
        lock(&self.files).file(self.id)
    }

    pub(in crate::sim) const fn id(&self) -> u64 {
        self.id
    }
}

/// Takes one more share.
impl Clone for Share {
    fn clone(&self) -> Self {
        lock(&self.files).share(self.id);
        Self::new(&self.files, self.id)
    }
}

/// Gives the share back.
impl Drop for Share {
    fn drop(&mut self) {
        lock(&self.files).release(self.id);
    }
}
