//! Kernel modules.

use std::fs::File;

use anyhow::{Context as _, Result};
use rustix::io::Errno;
use rustix::system::finit_module;

/// Loads the modules at `paths`, in this order.
///
/// # Errors
///
/// A module cannot be opened, or the kernel refuses it. One that is loaded already is no error.
pub(crate) fn load(paths: &[String]) -> Result<()> {
    for path in paths {
        let file = File::open(path).with_context(|| format!("cannot open {path}"))?;
        match finit_module(&file, c"", 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot load {path}")),
        }
    }
    Ok(())
}
