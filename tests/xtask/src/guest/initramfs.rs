//! The guest's root: its programs, its kernel modules and its plan.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use cpio::NewcBuilder;
use cpio::newc::{ModeFileType, trailer};
use vfio_freestanding::checks;
use vfio_guest::{Case, PLAN, Plan};

use super::fio;
use super::modules::Module;
use crate::paths;
use crate::proofs;
use crate::tools::{cargo, run};

/// Named, so that flags for the guest's programs leave build scripts and macros alone, which cannot be static.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// The guest's programs, each static.
pub(crate) struct Programs {
    init: PathBuf,
    /// `None` where only something is measured.
    vfio: Option<PathBuf>,
    /// The init that needs neither libc nor std; `None` as above.
    freestanding: Option<PathBuf>,
    /// What else a guest that measures has.
    fio: Vec<(String, PathBuf)>,
}

impl Programs {
    /// Returns the root of a guest that runs `plan`.
    ///
    /// # Errors
    ///
    /// Never: a plan can be written as JSON.
    pub(crate) fn root(&self, plan: &Plan) -> Result<Root<'_>> {
        let vfio = self.vfio.as_deref().map(|vfio| ("bin/vfio", vfio));
        Ok(Root {
            programs: [("init", self.init.as_path())]
                .into_iter()
                .chain(vfio)
                .collect(),
            files: vec![(PLAN, serde_json::to_vec_pretty(plan)?)],
            others: if plan.is_timed() { &self.fio } else { &[] },
        })
    }

    /// Returns the root of a guest whose init needs neither libc nor std.
    ///
    /// # Errors
    ///
    /// It was not built.
    pub(crate) fn freestanding_root(&self, plan: &Plan) -> Result<Root<'_>> {
        let init = self.freestanding.as_deref();
        let init = init.context("the init without libc was not built")?;
        let lines = plan.modules.iter().map(|path| format!("{path}\n"));
        Ok(Root {
            programs: vec![("init", init)],
            files: vec![(checks::MODULES, lines.collect::<String>().into_bytes())],
            others: &[],
        })
    }

    /// Returns the cases that a guest will run for `plan`, as its own program says.
    ///
    /// # Errors
    ///
    /// The program fails on this host.
    pub(crate) fn cases(&self, plan: &Plan) -> Result<Vec<Case>> {
        let mut list = Command::new(&self.init);
        let mut child = list
            .arg("list")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().context("vfio-guest has no stdin")?;
        serde_json::to_writer(input, plan)?;
        let output = child.wait_with_output()?;
        ensure!(
            output.status.success(),
            "vfio-guest cannot list its cases ({})",
            output.status
        );
        serde_json::Deserializer::from_slice(&output.stdout)
            .into_iter()
            .collect::<Result<_, _>>()
            .context("cannot parse the list of cases")
    }
}

/// Builds the guest's programs.
///
/// # Errors
///
/// The build fails.
pub(crate) fn build() -> Result<Programs> {
    let directory = built(&["vfio-guest", "vfio-cli"], &["vfio-guest", "vfio"], "dev")?;
    Ok(Programs {
        init: directory.join("vfio-guest"),
        vfio: Some(directory.join("vfio")),
        freestanding: Some(proofs::init()?),
        fio: Vec::new(),
    })
}

/// Builds what is measured, as fast as it gets.
///
/// # Errors
///
/// The build fails.
pub(crate) fn build_to_measure() -> Result<Programs> {
    let directory = built(&["vfio-guest"], &["vfio-guest"], "release")?;
    Ok(Programs {
        init: directory.join("vfio-guest"),
        vfio: None,
        freestanding: None,
        fio: fio::obtain().unwrap_or_else(|error| {
            println!("no fio can be had, so nothing is measured with it: {error:#}");
            Vec::new()
        }),
    })
}

/// Builds programs, and returns where they are.
fn built(packages: &[&str], programs: &[&str], profile: &str) -> Result<PathBuf> {
    let target = paths::guest().join("build");
    let mut build = cargo();
    build
        .args(["build", "--target", TRIPLE, "--profile", profile])
        .args(packages.iter().flat_map(|package| ["--package", package]))
        .args(programs.iter().flat_map(|program| ["--bin", program]))
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        // The emulated processor is slow; what is compared there byte by byte are whole disks.
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        // Symbols stay for backtraces; the rest would be most of the initramfs.
        .env("CARGO_PROFILE_DEV_STRIP", "debuginfo");
    run(&mut build)?;
    let directory = if profile == "dev" { "debug" } else { profile };
    Ok(target.join(TRIPLE).join(directory))
}

/// What a guest's root holds beside the kernel modules.
pub(crate) struct Root<'a> {
    /// The programs, each with its path in the guest.
    pub(crate) programs: Vec<(&'static str, &'a Path)>,
    /// Other files: path in the guest, and what is in it.
    pub(crate) files: Vec<(&'static str, Vec<u8>)>,
    /// Other programs and their libraries, each with its path in the guest.
    pub(crate) others: &'a [(String, PathBuf)],
}

/// Writes the initramfs to `path`.
///
/// # Errors
///
/// A program cannot be read, or `path` cannot be written.
pub(crate) fn write(path: &Path, root: &Root<'_>, modules: &[Module]) -> Result<()> {
    let mut archive = Archive {
        bytes: Vec::new(),
        entries: 0,
    };
    for directory in ["bin", "dev", "etc", "lib", "lib/modules"] {
        archive.add(
            NewcBuilder::new(directory)
                .mode(0o755)
                .set_mode_file_type(ModeFileType::Directory),
            &[],
        )?;
    }
    // The kernel opens it as the init's output before the init can mount anything.
    let console = NewcBuilder::new("dev/console")
        .mode(0o600)
        .set_mode_file_type(ModeFileType::Char);
    archive.add(console.rdev_major(5).rdev_minor(1), &[])?;
    let others = root.others.iter();
    let others = others.map(|(name, file)| (name.as_str(), file.as_path()));
    for (name, program) in root.programs.iter().copied().chain(others) {
        let bytes =
            fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
        archive.file(name, 0o755, &bytes)?;
    }
    for module in modules {
        archive.file(&module.path_in_guest(), 0o644, &module.object)?;
    }
    for (name, bytes) in &root.files {
        archive.file(name, 0o644, bytes)?;
    }
    let bytes = trailer(archive.bytes)?;
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// A cpio archive as it is written.
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a regular file with the absolute path `name`.
    fn file(&mut self, name: &str, permissions: u32, bytes: &[u8]) -> Result<()> {
        let name = name.trim_start_matches('/');
        self.add(
            NewcBuilder::new(name)
                .mode(permissions)
                .set_mode_file_type(ModeFileType::Regular),
            bytes,
        )
    }

    fn add(&mut self, entry: NewcBuilder, bytes: &[u8]) -> Result<()> {
        // The kernel takes entries of one inode number for hard links.
        self.entries += 1;
        let mut writer = entry
            .ino(self.entries)
            .nlink(1)
            .write(&mut self.bytes, u32::try_from(bytes.len())?);
        writer.write_all(bytes)?;
        writer.finish()?;
        Ok(())
    }
}
