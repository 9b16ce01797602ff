//! Building an image.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use object::elf::FileHeader64;
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use object::{LittleEndian, Object as _, ObjectSymbol as _};

use crate::paths;
use crate::tools::{cargo, run};

/// The package of the images.
const PACKAGE: &str = "vfio-unikernel";

/// The target, and the profile, which is also the name of its directory.
const TARGET: &str = "x86_64-unknown-linux-gnu";
const PROFILE: &str = "image";

/// What can't be said otherwise: an image runs where it is linked, and nothing is below a stack
/// pointer that an interrupt could overwrite.
const RUSTFLAGS: &str = "-Crelocation-model=static -Cno-redzone=yes";

/// Images are optimized for size alone. The core is not: so optimized it would be larger.
const SMALLEST: &str = "profile.image.package.vfio-unikernel.opt-level='z'";

/// The images that are measured for speed, and optimized for both.
const FAST: [&str; 1] = ["nvme"];

/// What is logged where the caller's DEFMT_LOG says nothing.
const LEVEL: &str = "info";

/// A part of the names of the functions that format text, mangled one way or the other.
const FORMATTING: &str = "4core3fmt";

/// An image that was built.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Its name.
    pub(crate) name: String,
    /// With the names and places that its log is decoded with.
    pub(crate) whole: PathBuf,
    /// What is booted.
    pub(crate) stripped: PathBuf,
}

impl Image {
    /// Builds the image `name`, a binary of the package or an example.
    ///
    /// # Errors
    ///
    /// The build fails.
    pub(crate) fn build(name: &str) -> Result<Self> {
        Self::build_as("--bin", name, "")
    }

    /// Builds the example `name`.
    ///
    /// # Errors
    ///
    /// The build fails.
    pub(crate) fn build_example(name: &str) -> Result<Self> {
        Self::build_as("--example", name, "examples")
    }

    fn build_as(kind: &str, name: &str, directory: &str) -> Result<Self> {
        let mut build = command("build");
        build.args([kind, name]);
        if !FAST.contains(&name) {
            build.args(["--config", SMALLEST]);
        }
        run(&mut build)?;
        let directory = target().join(TARGET).join(PROFILE).join(directory);
        let whole = directory.join(name);
        let stripped = directory.join(format!("{name}.stripped"));
        let mut strip = Command::new("strip");
        strip
            .arg("--strip-all")
            .arg("-o")
            .arg(&stripped)
            .arg(&whole);
        run(&mut strip).context("stripping takes the C compiler's binutils")?;
        without_sections(&stripped)?;
        Ok(Self {
            name: name.into(),
            whole,
            stripped,
        })
    }

    /// Bytes of what is booted.
    ///
    /// # Errors
    ///
    /// It can't be read.
    pub(crate) fn size(&self) -> Result<u64> {
        let metadata = fs::metadata(&self.stripped);
        Ok(metadata
            .with_context(|| format!("cannot read {}", self.stripped.display()))?
            .len())
    }

    /// Makes sure that nothing in the image formats text.
    ///
    /// # Errors
    ///
    /// A function of `core::fmt` is in it.
    pub(crate) fn formats_nothing(&self) -> Result<()> {
        let bytes = fs::read(&self.whole)
            .with_context(|| format!("cannot read {}", self.whole.display()))?;
        let file = object::File::parse(bytes.as_slice())?;
        let names: Vec<&str> = file
            .symbols()
            .filter_map(|symbol| symbol.name().ok())
            .collect();
        ensure!(
            names.contains(&"pvh_start"),
            "{} has no names to look for",
            self.whole.display()
        );
        let found = names.iter().find(|name| name.contains(FORMATTING));
        ensure!(
            found.is_none(),
            "{} contains {}",
            self.name,
            found.unwrap_or(&"")
        );
        Ok(())
    }
}

/// Takes the table of sections out of a stripped image: only its program headers are ever looked at.
fn without_sections(path: &Path) -> Result<()> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let header = FileHeader64::<LittleEndian>::parse(bytes.as_slice())?;
    let segments = header.program_headers(LittleEndian, bytes.as_slice())?;
    let ends = segments.iter().map(|segment| {
        let (offset, size) = segment.file_range(LittleEndian);
        offset + size
    });
    let mut bytes = bytes[..usize::try_from(ends.max().unwrap_or(0))?].to_vec();
    // e_shoff, and e_shnum with e_shstrndx.
    for field in [0x28..0x30, 0x3c..0x40] {
        bytes
            .get_mut(field)
            .context("the image has no header")?
            .fill(0);
    }
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Returns a command of cargo's on the images, which says no more than what goes wrong.
pub(crate) fn command(verb: &str) -> Command {
    let mut command = cargo();
    command
        .args([verb, "--quiet", "--package", PACKAGE])
        .args(["--profile", PROFILE, "--target", TARGET])
        .args(["--features", "image"])
        .env("CARGO_TARGET_DIR", target())
        .env("RUSTFLAGS", RUSTFLAGS)
        // Fat LTO of an image recurses deeper than the compiler's threads are made for.
        .env("RUST_MIN_STACK", "67108864")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    if std::env::var_os("DEFMT_LOG").is_none() {
        command.env("DEFMT_LOG", LEVEL);
    }
    command
}

/// Returns a target directory of its own: the flags are other ones.
fn target() -> PathBuf {
    paths::target().join("unikernel")
}
