//! A kernel for the guests, built from the distribution's source package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use super::archive::{Archive, files};
use crate::paths;
use crate::tools::{quiet, require, require_header, run};

/// What the kernel must have, on top of the smallest configuration.
const FRAGMENT: &str = "tests/guest/kernel.config";

/// The package that depends on the newest source package, and what the names of those begin with.
const NEWEST: (&str, &str) = ("linux-source", "linux-source-");

/// The oldest kernel that has character devices for VFIO and IOMMUFD.
const OLDEST: Version = Version(6, 6);

/// The suite of Debian's that has the newest kernels.
const NEWEST_SUITE: &str = "stable-backports";

/// Programs that a build needs, each with its package.
const TOOLS: [(&str, &str); 6] = [
    ("make", "make"),
    ("gcc", "gcc"),
    ("bc", "bc"),
    ("bison", "bison"),
    ("flex", "flex"),
    ("xz", "xz-utils"),
];

/// How the kernel is to be built.
#[derive(Args)]
pub(crate) struct Options {
    /// The source package, such as linux-source-7.3; the newest that the archive has when none is given.
    #[arg(long, value_name = "PACKAGE")]
    package: Option<String>,
}

/// A kernel's version, as the name of its package has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

/// Builds the kernel, and prints where it is, alone on the last line.
///
/// # Errors
///
/// There is no source package, a tool is missing, or the build fails.
pub(crate) fn build(options: &Options) -> Result<ExitCode> {
    for (program, package) in TOOLS {
        require(program, package)?;
    }
    // For the kernel's own objtool.
    require_header("gelf.h", "libelf-dev")?;
    let (archive, package) = match &options.package {
        Some(package) => (with(package)?, package.clone()),
        None => newest()?,
    };
    let directory = paths::guest().join("source").join(&package);
    let tree = tree(&archive, &package, &directory)?;
    configure(&tree)?;
    println!("building {package}; it takes about ten minutes on two cores");
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    quiet(make(&tree).arg(format!("-j{jobs}")).arg("bzImage"))?;
    let image = tree.join("arch/x86/boot/bzImage");
    ensure!(image.is_file(), "the build left no {}", image.display());
    let built = directory.join("bzImage");
    fs::copy(&image, &built).with_context(|| format!("cannot write {}", built.display()))?;
    println!(
        "the guest tests take it where VFIO_GUEST_KERNEL names it:\n{}",
        built.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// Returns the archives that may have sources: the system's own, its backports, Debian's newest.
fn archives() -> Vec<Archive> {
    let mut archives = Vec::new();
    for archive in [
        Archive::own(),
        Archive::backports(),
        Archive::suite(NEWEST_SUITE),
    ] {
        let ready = archive.and_then(|archive| archive.update().map(|()| archive));
        match ready {
            Ok(archive) => archives.push(archive),
            Err(error) => println!("left out: {error:#}"),
        }
    }
    archives
}

/// Returns the newest source package, and the archive that has it.
fn newest() -> Result<(Archive, String)> {
    let mut best: Option<(Version, Archive, String)> = None;
    for archive in archives() {
        let needs = archive.depends(NEWEST.0).unwrap_or_default();
        for package in needs {
            let Some(version) = version(&package) else {
                continue;
            };
            let is_newer = best.as_ref().is_none_or(|best| version > best.0);
            if is_newer {
                best = Some((version, archive, package));
                break;
            }
        }
    }
    match best {
        Some((version, archive, package)) if version >= OLDEST => Ok((archive, package)),
        Some((_, _, package)) => bail!("{package} is the newest, and has no VFIO device cdev"),
        None => bail!("no archive has the package {}", NEWEST.0),
    }
}

/// Returns the archive that has `package`.
fn with(package: &str) -> Result<Archive> {
    archives()
        .into_iter()
        .find(|archive| archive.has(package))
        .with_context(|| format!("no archive has the package {package}"))
}

/// Returns the version in the name of a source package.
fn version(package: &str) -> Option<Version> {
    let mut numbers = package.strip_prefix(NEWEST.1)?.split('.').map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Some(Version(major, minor)),
        _ => None,
    }
}

/// Returns the unpacked source tree.
fn tree(archive: &Archive, package: &str, directory: &Path) -> Result<PathBuf> {
    let tree = directory.join("tree");
    if tree.exists() {
        return Ok(tree);
    }
    let unpacked = directory.join("package");
    if !unpacked.exists() {
        println!(
            "fetching {package} with apt-get into {} (it is not installed)",
            directory.display()
        );
        archive.fetch(&[package.to_owned()], &unpacked)?;
    }
    let is_tree = |path: &PathBuf| path.to_string_lossy().contains(".tar.");
    let sources = files(&unpacked.join("usr/src"))?.into_iter().find(is_tree);
    let sources = sources.with_context(|| format!("{package} holds no source tree"))?;
    let partial = directory.join("tree.partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    println!("unpacking {}", sources.display());
    run(Command::new("tar")
        .args(["--extract", "--strip-components=1", "--file"])
        .arg(&sources)
        .arg("--directory")
        .arg(&partial))?;
    fs::rename(&partial, &tree)?;
    Ok(tree)
}

/// Makes the configuration: the smallest, and what [`FRAGMENT`] adds.
fn configure(tree: &Path) -> Result<()> {
    let fragment = paths::root().join(FRAGMENT);
    quiet(make(tree).arg("tinyconfig"))?;
    quiet(
        Command::new("scripts/kconfig/merge_config.sh")
            .args(["-m", ".config"])
            .arg(&fragment)
            .current_dir(tree),
    )?;
    quiet(make(tree).arg("olddefconfig"))?;
    let wanted = fs::read_to_string(&fragment)?;
    let got = fs::read_to_string(tree.join(".config"))?;
    let missing = missing(&wanted, &got);
    if !missing.is_empty() {
        // An older or newer kernel may not know an option: the tests say what they miss.
        println!("this kernel does not take: {}", missing.join(", "));
    }
    for option in [
        "CONFIG_VFIO_PCI",
        "CONFIG_IOMMUFD",
        "CONFIG_VFIO_DEVICE_CDEV",
    ] {
        ensure!(
            !missing.contains(&option),
            "the kernel can't be built with {option}"
        );
    }
    Ok(())
}

/// Returns the options of `wanted` that are otherwise in `got`.
fn missing<'a>(wanted: &'a str, got: &str) -> Vec<&'a str> {
    let options = wanted.lines().filter_map(|line| line.split_once('='));
    let is_there = |option: &str, value: &str| match value {
        "n" => !got
            .lines()
            .any(|line| line.starts_with(&format!("{option}="))),
        _ => got.lines().any(|line| line == format!("{option}={value}")),
    };
    options
        .filter(|(option, value)| !option.starts_with('#') && !is_there(option, value))
        .map(|(option, _)| option)
        .collect()
}

fn make(tree: &Path) -> Command {
    let mut make = Command::new("make");
    make.arg("--directory").arg(tree).arg("--silent");
    // Whatever this was started by, a make of its own is meant.
    make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    make
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::*;

    #[test]
    fn versions_are_ordered_as_numbers() {
        let [old, new] = ["linux-source-6.6", "linux-source-6.12"].map(version);
        assert_eq!(old.cmp(&new), Ordering::Less);
        assert_eq!(version("linux-source"), None);
        assert_eq!(version("linux-source-6.8.0"), Some(Version(6, 8)));
    }

    #[test]
    fn options_that_were_not_taken_are_told() {
        let wanted = "# CONFIG_A=y is a comment\nCONFIG_B=y\nCONFIG_C=y\nCONFIG_D=n\nCONFIG_E=n\n";
        let got = "CONFIG_B=y\n# CONFIG_C is not set\nCONFIG_D=y\n";
        assert_eq!(missing(wanted, got), ["CONFIG_C", "CONFIG_D"]);
    }
}
