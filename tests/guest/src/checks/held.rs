//! Is everything given back that a check took?

use std::fs;

use anyhow::{Context as _, Result, ensure};

/// What a program holds of the kernel's.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    /// Open files.
    files: usize,
    /// Mappings of devices and of memory for DMA.
    mappings: usize,
}

impl Held {
    fn now() -> Result<Self> {
        let files = fs::read_dir("/proc/self/fd").context("cannot read /proc/self/fd")?;
        let maps = fs::read_to_string("/proc/self/maps").context("cannot read /proc/self/maps")?;
        let kinds = ["vfio", "/dev/zero", "hugepage"];
        let is_ours = |line: &&str| kinds.iter().any(|kind| line.contains(kind));
        Ok(Self {
            files: files.count(),
            mappings: maps.lines().filter(is_ours).count(),
        })
    }
}

/// Runs a check after which every file must be closed and every mapping gone.
///
/// # Errors
///
/// What the check returns, and whatever is left.
pub(super) fn unchanged(run: impl FnOnce() -> Result<String>) -> Result<String> {
    let before = Held::now()?;
    let seen = run()?;
    let after = Held::now()?;
    ensure!(before == after, "{before:?} has become {after:?}");
    Ok(seen)
}
