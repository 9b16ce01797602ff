//! Is everything given back that a check took?

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};

/// How many mappings are lost for good: memory that could not be unmapped for its device.
static LOST: AtomicUsize = AtomicUsize::new(0);

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
            mappings: maps.lines().filter(is_ours).count() - LOST.load(Ordering::Relaxed),
        })
    }
}

/// Runs what may lose memory, after which every file must be closed; how many mappings are lost,
/// which then count no more.
///
/// # Errors
///
/// A file is still open.
pub(super) fn lost(run: impl FnOnce()) -> Result<usize> {
    let before = Held::now()?;
    run();
    let after = Held::now()?;
    ensure!(
        before.files == after.files,
        "{before:?} has become {after:?}"
    );
    let lost = after.mappings - before.mappings;
    LOST.fetch_add(lost, Ordering::Relaxed);
    Ok(lost)
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
