//! Where things are.

use std::env;
use std::path::{Path, PathBuf};

/// Returns the root of the workspace.
pub(crate) fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package).into()
}

/// Returns cargo's target directory, under which everything that a task makes or fetches is kept.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root().join(directory),
        None => root().join("target"),
    }
}

/// Returns the directory of what the guest tests make and fetch.
pub(crate) fn guest() -> PathBuf {
    target().join("guest")
}

/// Returns the directory of what fuzzing builds, starts from and finds.
pub(crate) fn fuzz() -> PathBuf {
    target().join("fuzz")
}
