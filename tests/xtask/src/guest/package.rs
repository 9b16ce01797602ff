//! Kernels from the packages of Debian and Ubuntu: downloaded and unpacked, never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::kernel::Kernel;
use crate::paths;
use crate::tools::{find, quiet, read};

/// The packages that depend on the newest kernel: Debian's for virtual machines, Ubuntu's, and Debian's for all machines.
const NEWEST: [&str; 3] = [
    "linux-image-cloud-amd64",
    "linux-image-virtual",
    "linux-image-amd64",
];

/// Where in the archive to look.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suite {
    /// The suite that this machine installs from.
    Own,
    /// Its backports.
    Backports,
}

/// Downloads and unpacks the newest kernel of `suite`, unless that was done before.
///
/// # Errors
///
/// There is no apt-get, the suite is not among its sources, or a download fails.
pub(crate) fn obtain(suite: Suite) -> Result<Kernel> {
    if find("apt-get").is_none() || find("dpkg-deb").is_none() {
        bail!(
            "Debian's kernel can only be fetched with apt-get and dpkg-deb; \
             name another kernel with `cargo xtask guest --kernel PATH`"
        );
    }
    let release = match suite {
        Suite::Own => None,
        Suite::Backports => Some(format!("{}-backports", codename()?)),
    };
    let image = newest(release.as_deref())?;
    let directory = paths::guest().join("kernels").join(&image);
    let unpacked = directory.join("unpacked");
    if !unpacked.exists() {
        println!(
            "fetching the kernel {image} with apt-get into {} (it is not installed)",
            directory.display()
        );
        unpack(&image, release.as_deref(), &directory, &unpacked)?;
    }
    kernel_in(image, &unpacked)
}

/// The package of the newest kernel.
fn newest(release: Option<&str>) -> Result<String> {
    let search = || {
        NEWEST.iter().find_map(|name| {
            let depends = depends(name, release).ok()?;
            depends
                .into_iter()
                .find(|package| package.starts_with("linux-image-"))
        })
    };
    if let Some(image) = search() {
        return Ok(image);
    }
    // On a fresh machine the lists of packages are still to be fetched.
    if rustix::process::geteuid().is_root() {
        println!("fetching the lists of packages with apt-get update");
        quiet(Command::new("apt-get").args(["--quiet=2", "update"]))?;
    }
    search().with_context(|| match release {
        None => "apt-cache knows no kernel package; run `sudo apt-get update`".into(),
        Some(release) => {
            format!("apt-cache knows no kernel in {release}; add that suite to apt's sources and run `sudo apt-get update`")
        }
    })
}

/// Downloads `image` and the packages of its modules and unpacks them into `unpacked`, which appears only when it is whole.
fn unpack(image: &str, release: Option<&str>, directory: &Path, unpacked: &Path) -> Result<()> {
    let mut packages = vec![image.to_owned()];
    packages.extend(
        depends(image, release)?
            .into_iter()
            .filter(|package| package.starts_with("linux-modules-")),
    );

    let partial = directory.join("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)
            .with_context(|| format!("cannot remove {}", partial.display()))?;
    }
    fs::create_dir_all(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
    for package in &packages {
        quiet(
            Command::new("apt-get")
                .args(["--quiet=2", "download"])
                .arg(package)
                .current_dir(directory),
        )?;
    }
    for file in files(directory)?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "deb"))
    {
        quiet(
            Command::new("dpkg-deb")
                .arg("--extract")
                .arg(&file)
                .arg(&partial),
        )?;
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    fs::rename(&partial, unpacked).with_context(|| format!("cannot rename {}", partial.display()))
}

/// The kernel in an unpacked package.
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

/// The packages that `package` depends on, without versions; the first of alternatives.
fn depends(package: &str, release: Option<&str>) -> Result<Vec<String>> {
    let package = release.map_or_else(
        || package.to_owned(),
        |release| format!("{package}/{release}"),
    );
    // A package that is not there is no error worth showing: another one may be.
    let output = Command::new("apt-cache")
        .args(["show", "--no-all-versions", &package])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("Depends: "));
    let line = line.with_context(|| format!("apt-cache knows no package {package}"))?;
    Ok(line
        .split(',')
        .filter_map(|entry| entry.split_whitespace().next())
        .map(str::to_owned)
        .collect())
}

/// The code name of this system's release, such as `bookworm`.
fn codename() -> Result<String> {
    let name = read(
        Command::new("sh").args(["-c", ". /etc/os-release && printf %s \"$VERSION_CODENAME\""]),
    )?;
    ensure!(
        !name.is_empty(),
        "/etc/os-release names no release; choose another kernel with --kernel"
    );
    Ok(name)
}

/// What is in `directory`, in order of names.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}
