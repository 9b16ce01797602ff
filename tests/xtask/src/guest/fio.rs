//! fio, which measures what the kernel's own driver does.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use vfio_guest::{FIO, LOADER};

use super::archive::Archive;
use crate::paths;
use crate::tools::{find, read};

/// The program and its package.
const NAME: &str = "fio";

/// Obtains the system's fio, or downloads and unpacks one, with all the libraries that it takes. Returns the path in a
/// guest of each, and where it is.
///
/// # Errors
///
/// It can't be fetched, or a library is missing.
pub(super) fn obtain() -> Result<Vec<(String, PathBuf)>> {
    let root = paths::guest().join(NAME);
    let program = match find(NAME) {
        Some(program) => program,
        None => {
            if !root.exists() {
                println!(
                    "fetching {NAME} and what it needs with apt-get into {} (it is not installed)",
                    root.display()
                );
                Archive::own()?.fetch_with_needs(NAME, &root)?;
            }
            root.join("usr/bin").join(NAME)
        }
    };
    // Ceph's libraries find each other by a path that only holds where they are installed.
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    let libraries = env::join_paths([libraries.join("ceph"), libraries])?;
    let mut list = Command::new("ldd");
    list.arg(&program).env("LD_LIBRARY_PATH", libraries);
    let list = read(&mut list)?;
    let mut files = vec![(FIO.to_owned(), program)];
    for line in list.lines() {
        // `NAME => PATH (ADDRESS)`, or for the loader `PATH (ADDRESS)`; what the kernel brings has no path.
        let text = line.split_once(" => ").map_or(line, |(_, path)| path);
        let path = text.trim().split(" (").next().unwrap_or_default();
        anyhow::ensure!(path != "not found", "{}", line.trim());
        if path.starts_with('/') {
            let name = path.rsplit('/').next().unwrap_or_default();
            files.push((format!("lib/{name}"), path.into()));
        }
    }
    files
        .iter()
        .find(|(name, _)| name == LOADER)
        .context("it has no loader")?;
    Ok(files)
}
