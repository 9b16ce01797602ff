//! The program that emulates the machine.

use std::env;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::archive::Archive;
use crate::paths;
use crate::tools::{read, require};

/// The program and its package.
const PROGRAM: (&str, &str) = ("qemu-system-x86_64", "qemu-system-x86");

/// The environment variable that names a QEMU to use.
const VARIABLE: &str = "VFIO_QEMU";

/// The model that tells a QEMU that is new enough for every device: since 8.2.
const NEW: &str = "igb";

/// A QEMU, and what it has.
pub(crate) struct Qemu {
    program: PathBuf,
    /// Where it was unpacked, for one that is not installed.
    root: Option<PathBuf>,
    /// The first line of what `--version` says.
    version: String,
    /// Why there is no newer one, where it is old.
    old: Option<String>,
}

impl Qemu {
    /// Creates the one that `VFIO_QEMU` names. Else the system's, or one of the backports where the system's is old.
    /// It is not installed.
    ///
    /// # Errors
    ///
    /// There is none, or it can't be run. That the backports have none is no error.
    pub(crate) fn obtain() -> Result<Self> {
        let given = env::var_os(VARIABLE).filter(|value| !value.is_empty());
        if let Some(path) = given {
            return Self::given(path);
        }
        let own = Self::installed()?;
        if own.has(NEW) {
            return Ok(own);
        }
        match backported() {
            Ok(newer) => Ok(newer),
            Err(error) => {
                println!("no newer QEMU can be had: {error:#}");
                let old = "is older than 8.2, and no newer one can be had".to_owned();
                Ok(Self {
                    old: Some(old),
                    ..own
                })
            }
        }
    }

    /// Creates the system's, whatever its age.
    ///
    /// # Errors
    ///
    /// There is none, or it can't be run.
    pub(crate) fn installed() -> Result<Self> {
        require(PROGRAM.0, PROGRAM.1)?;
        Self::ask(PROGRAM.0.into(), None)
    }

    /// Creates the one that was asked for, whatever its age.
    fn given(path: OsString) -> Result<Self> {
        // It is run in a directory of its own.
        let program = std::path::absolute(PathBuf::from(path))?;
        let qemu = Self::ask(program, None)
            .with_context(|| format!("{VARIABLE} names no QEMU that can be run"))?;
        let old = (!qemu.has(NEW)).then(|| format!("is older than 8.2; {VARIABLE} names it"));
        Ok(Self { old, ..qemu })
    }

    fn ask(program: PathBuf, root: Option<PathBuf>) -> Result<Self> {
        let mut qemu = Self {
            program,
            root,
            version: String::new(),
            old: None,
        };
        let version = read(qemu.command().arg("--version"))?;
        qemu.version = version.lines().next().unwrap_or_default().to_owned();
        Ok(qemu)
    }

    /// Returns why it lacks the model `name`. `None` where it has it.
    pub(crate) fn lacks(&self, name: &str) -> Option<String> {
        let why = || match &self.old {
            Some(old) => format!("this QEMU has no {name}: it {old}"),
            None => format!("this QEMU has no {name}"),
        };
        (!self.has(name)).then(why)
    }

    /// Returns why it is old, where it is.
    pub(crate) fn age(&self) -> Option<String> {
        self.old.as_ref().map(|old| format!("this QEMU {old}"))
    }

    /// Asks for the one model: a list of all takes modules that this QEMU may lack.
    fn has(&self, name: &str) -> bool {
        read(self.command().arg("-device").arg(format!("{name},help")))
            .is_ok_and(|text| text.starts_with(&format!("{name} options")))
    }

    /// Tells whether software emulates all of `processor`, which QEMU's option `-cpu` takes.
    pub(crate) fn emulates(&self, processor: &str) -> bool {
        let ends_well = || {
            let mut machine = self
                .command()
                .args(["-machine", "q35,accel=tcg", "-nodefaults", "-S"])
                .args(["-display", "none", "-monitor", "stdio"])
                .arg("-cpu")
                .arg(format!("{processor},enforce"))
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            if let Some(mut monitor) = machine.stdin.take() {
                // One that does not start reads nothing; its status tells.
                let _ = monitor.write_all(b"quit\n");
            }
            machine.wait()
        };
        ends_well().is_ok_and(|status| status.success())
    }

    /// Returns the program to be given its options.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(root) = &self.root {
            let libraries = root.join("usr/lib/x86_64-linux-gnu");
            command.env("QEMU_MODULE_DIR", libraries.join("qemu"));
            command.env("LD_LIBRARY_PATH", libraries);
            // What it needs and the system has was not unpacked: QEMU looks for that where it always does.
            for data in ["qemu", "seabios", "../lib/ipxe/qemu"] {
                command.arg("-L").arg(root.join("usr/share").join(data));
            }
        }
        command
    }

    /// Returns the program's version.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }
}

/// Returns the QEMU of the backports, downloaded and unpacked unless that was done before.
fn backported() -> Result<Qemu> {
    let root = paths::guest().join("qemu");
    if !root.exists() {
        println!(
            "the system's QEMU is older than 8.2: fetching {} and what it needs of the backports with apt-get into {} (it is not \
             installed)",
            PROGRAM.1,
            root.display()
        );
        let archive = Archive::backports()?;
        archive.update()?;
        archive.fetch_with_needs(PROGRAM.1, &root)?;
    }
    // A library may have gone from the system meanwhile.
    let remedy = || format!("remove {}", root.display());
    let qemu = in_directory(&root).with_context(remedy)?;
    ensure!(qemu.has(NEW), "the backports' is older as well");
    Ok(qemu)
}

fn in_directory(root: &Path) -> Result<Qemu> {
    Qemu::ask(root.join("usr/bin").join(PROGRAM.0), Some(root.into()))
}
