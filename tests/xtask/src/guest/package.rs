//! Kernels from the packages of Debian and Ubuntu.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::archive::{Archive, files};
use super::kernel::Kernel;
use crate::paths;

/// The packages that depend on the newest kernel: Debian's for virtual machines, Ubuntu's, and Debian's for all machines.
const NEWEST: [&str; 3] = [
    "linux-image-cloud-amd64",
    "linux-image-virtual",
    "linux-image-amd64",
];

/// Downloads and unpacks the newest kernel of `archive`, unless that was done before.
///
/// # Errors
///
/// The archive has none, or a download fails.
pub(crate) fn obtain(archive: &Archive) -> Result<Kernel> {
    let image = newest(archive)?;
    let directory = paths::guest().join("kernels").join(&image);
    let unpacked = directory.join("unpacked");
    if !unpacked.exists() {
        println!(
            "fetching the kernel {image} with apt-get into {} (it is not installed)",
            directory.display()
        );
        let needs = archive.depends(&image)?.into_iter();
        let mut packages = vec![image.clone()];
        packages.extend(needs.filter(|package| package.starts_with("linux-modules-")));
        archive.fetch(&packages, &unpacked)?;
    }
    kernel_in(image, &unpacked)
}

/// Returns the package of the newest kernel.
fn newest(archive: &Archive) -> Result<String> {
    let search = || {
        NEWEST.iter().find_map(|name| {
            let depends = archive.depends(name).ok()?;
            depends
                .into_iter()
                .find(|package| package.starts_with("linux-image-"))
        })
    };
    if let Some(image) = search() {
        return Ok(image);
    }
    // On a fresh machine the lists of packages are still to be fetched.
    archive.update()?;
    search().with_context(|| match archive.suite_name() {
        None => "apt-cache knows no kernel package; run `sudo apt-get update`".into(),
        Some(suite) => format!("apt-cache knows no kernel in {suite}"),
    })
}

/// Returns the kernel in an unpacked package.
fn kernel_in(name: String, unpacked: &Path) -> Result<Kernel> {
    let image = files(&unpacked.join("boot"))?.into_iter().find(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"))
    });
    let modules = ["lib/modules", "usr/lib/modules"]
        .iter()
        .map(|directory| unpacked.join(directory))
        .find(|directory| directory.is_dir())
        .and_then(|directory| files(&directory).ok()?.into_iter().next());
    let remedy = || {
        format!(
            "the package {name} holds no kernel with modules; remove {}",
            unpacked.display()
        )
    };
    Ok(Kernel {
        image: image.with_context(remedy)?,
        modules: Some(modules.with_context(remedy)?),
        name,
    })
}
