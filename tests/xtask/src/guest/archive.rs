//! The distribution's archive: packages looked up, downloaded and unpacked, never installed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::paths;
use crate::tools::{find, quiet, read};

/// The keys of the archives of Debian and Ubuntu, where a system has them as files.
const KEYS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
];

/// What apt-get knows.
pub(crate) struct Archive {
    /// What apt-get and apt-cache are told.
    options: Vec<String>,
    /// The suite that packages are taken from; what the system installs from where there is none.
    suite: Option<String>,
}

impl Archive {
    /// Returns the archive that this system installs from.
    ///
    /// # Errors
    ///
    /// There is no apt-get.
    pub(crate) fn own() -> Result<Self> {
        if find("apt-get").is_none() || find("dpkg-deb").is_none() {
            bail!("a package of Debian's can only be fetched with apt-get and dpkg-deb");
        }
        Ok(Self {
            options: Vec::new(),
            suite: None,
        })
    }

    /// Creates the backports of the system's release. Where they are none of apt's sources, they are looked up with lists of
    /// their own: nothing of the system is changed.
    ///
    /// # Errors
    ///
    /// There is no apt-get, or apt's sources have no archive of this release.
    pub(crate) fn backports() -> Result<Self> {
        Self::suite(&format!("{}-backports", codename()?))
    }

    /// Finds an archive as [`Archive::backports`] does, of any suite that lies beside the system's
    /// release.
    ///
    /// # Errors
    ///
    /// As [`Archive::backports`].
    pub(crate) fn suite(suite: &str) -> Result<Self> {
        let mut archive = Self::own()?;
        let release = codename()?;
        let suite = suite.to_owned();
        let sources = archive.sources()?;
        if !sources.iter().any(|source| source.suite == suite) {
            let base = sources.iter().find(|source| source.suite == release);
            let base =
                base.with_context(|| format!("apt's sources have no archive of {release}"))?;
            archive.options = private(&suite, base)?;
        }
        archive.suite = Some(suite);
        Ok(archive)
    }

    /// Returns the suite that packages are taken from, where it was asked for.
    pub(crate) fn suite_name(&self) -> Option<&str> {
        self.suite.as_deref()
    }

    /// Tells whether there is the package `package`.
    pub(crate) fn has(&self, package: &str) -> bool {
        self.command("apt-cache")
            .args(["show", "--no-all-versions", &self.named(package)])
            .output()
            .is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
    }

    /// Fetches the lists of packages, as far as this user may.
    ///
    /// # Errors
    ///
    /// They can't be fetched.
    pub(crate) fn update(&self) -> Result<()> {
        if self.options.is_empty() && !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        println!("fetching the lists of packages with apt-get update");
        quiet(self.get().arg("update"))
    }

    /// Returns the packages that `package` depends on, without versions. The first of alternatives.
    ///
    /// # Errors
    ///
    /// There is no such package.
    pub(crate) fn depends(&self, package: &str) -> Result<Vec<String>> {
        // A package that is not there is no error worth showing: another one may be.
        let output = self
            .command("apt-cache")
            .args(["show", "--no-all-versions", &self.named(package)])
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

    /// Downloads `packages` and unpacks them into `unpacked`, which appears only when it is whole.
    ///
    /// # Errors
    ///
    /// A download fails.
    pub(crate) fn fetch(&self, packages: &[String], unpacked: &Path) -> Result<()> {
        let partial = Partial::new(unpacked)?;
        for package in packages {
            quiet(
                self.get()
                    .arg("download")
                    .arg(package)
                    .current_dir(&partial.packages),
            )?;
        }
        partial.unpack(unpacked)
    }

    /// Works as [`Archive::fetch`], of one package and of everything that it needs and this system
    /// lacks.
    ///
    /// # Errors
    ///
    /// As [`Archive::fetch`].
    pub(crate) fn fetch_with_needs(&self, package: &str, unpacked: &Path) -> Result<()> {
        let partial = Partial::new(unpacked)?;
        let cache = format!("Dir::Cache::Archives={}", partial.packages.display());
        fs::create_dir_all(partial.packages.join("partial"))?;
        quiet(
            self.get()
                .args(["-o", &cache, "-o", "Debug::NoLocking=1"])
                .args(["--download-only", "--no-install-recommends", "--yes"])
                .args(
                    self.suite
                        .iter()
                        .map(|suite| format!("--target-release={suite}")),
                )
                .args(["install", package]),
        )?;
        partial.unpack(unpacked)
    }

    /// Returns where apt takes packages from.
    fn sources(&self) -> Result<Vec<Source>> {
        let lines = read(self.get().args([
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE) $(COMPONENT)",
            "Created-By: Packages",
        ]))?;
        let source = |line: &str| {
            let mut words = line.split_whitespace().map(str::to_owned);
            Some(Source {
                uri: words.next()?,
                suite: words.next()?,
                component: words.next()?,
            })
        };
        Ok(lines.lines().filter_map(source).collect())
    }

    /// Returns `package` of the suite.
    fn named(&self, package: &str) -> String {
        match &self.suite {
            Some(suite) => format!("{package}/{suite}"),
            None => package.to_owned(),
        }
    }

    fn get(&self) -> Command {
        let mut get = self.command("apt-get");
        get.arg("--quiet=2")
            .env("DEBIAN_FRONTEND", "noninteractive");
        get
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for option in &self.options {
            command.args(["-o", option]);
        }
        command
    }
}

/// A place that apt takes packages from.
struct Source {
    uri: String,
    suite: String,
    component: String,
}

/// Where packages are put until they are unpacked.
struct Partial {
    packages: PathBuf,
    files: PathBuf,
}

impl Partial {
    /// Creates an empty directory beside `unpacked`.
    fn new(unpacked: &Path) -> Result<Self> {
        let partial = unpacked.with_extension("partial");
        if partial.exists() {
            fs::remove_dir_all(&partial)
                .with_context(|| format!("cannot remove {}", partial.display()))?;
        }
        let packages = partial.join("packages");
        let files = partial.join("files");
        for directory in [&packages, &files] {
            create(directory)?;
        }
        Ok(Self { packages, files })
    }

    fn unpack(self, unpacked: &Path) -> Result<()> {
        let packages = files(&self.packages)?.into_iter();
        for package in packages.filter(|path| path.extension().is_some_and(|end| end == "deb")) {
            quiet(
                Command::new("dpkg-deb")
                    .arg("--extract")
                    .arg(&package)
                    .arg(&self.files),
            )?;
        }
        fs::rename(&self.files, unpacked)
            .with_context(|| format!("cannot rename {}", self.files.display()))?;
        let partial = unpacked.with_extension("partial");
        fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))
    }
}

/// Returns the options of an apt with lists of its own and `suite` among its sources, which comes from
/// where `base` is.
fn private(suite: &str, base: &Source) -> Result<Vec<String>> {
    let directory = paths::guest().join("apt");
    let parts = directory.join("sources.list.d");
    if parts.exists() {
        fs::remove_dir_all(&parts).with_context(|| format!("cannot remove {}", parts.display()))?;
    }
    create(&parts)?;
    // The system's own sources, for what the packages of the suite need.
    for source in files(Path::new("/etc/apt/sources.list.d")).unwrap_or_default() {
        if let Some(name) = source.file_name() {
            symlink(&source, parts.join(name))?;
        }
    }
    let key = KEYS.into_iter().find(|key| Path::new(key).exists());
    let signed = key.map_or_else(String::new, |key| format!("[signed-by={key}] "));
    let Source { uri, component, .. } = base;
    let line = format!("deb {signed}{uri} {suite} {component}\n");
    fs::write(parts.join(format!("{suite}.list")), line)?;
    let lists = directory.join("lists");
    create(&lists.join("partial"))?;
    Ok(vec![
        format!("Dir::Etc::SourceParts={}", parts.display()),
        format!("Dir::State::Lists={}", lists.display()),
        format!("Dir::Cache={}", directory.display()),
        "Debug::NoLocking=1".into(),
        // The user that apt has for downloads may not reach this directory.
        "APT::Sandbox::User=root".into(),
    ])
}

/// Returns the code name of this system's release, such as `bookworm`.
fn codename() -> Result<String> {
    let name = read(
        Command::new("sh").args(["-c", ". /etc/os-release && printf %s \"$VERSION_CODENAME\""]),
    )?;
    ensure!(!name.is_empty(), "/etc/os-release names no release");
    Ok(name)
}

/// Returns the files in `directory`, in order of names.
pub(crate) fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn create(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))
}
