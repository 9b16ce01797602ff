//! The kernel modules that a guest needs, and the order in which they load.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use object::{Object as _, ObjectSection as _};

use super::kernel::Kernel;
use crate::tools::require;

/// What a guest uses; what these need is found from them.
const USED: [&str; 2] = ["vfio_iommu_type1", "vfio_pci"];

/// A kernel module.
pub(crate) struct Module {
    /// Its name, with `_` where a file may have `-`.
    name: String,
    /// The object file, not compressed.
    pub(crate) object: Vec<u8>,
}

impl Module {
    /// Returns where the module is in the guest.
    pub(crate) fn path_in_guest(&self) -> String {
        format!("/lib/modules/{}.ko", self.name)
    }

    /// Returns the names of the modules that it needs, as its section `.modinfo` gives them.
    fn depends(&self) -> Result<Vec<String>> {
        let file = object::File::parse(self.object.as_slice()).context("it is no ELF file")?;
        let info = file
            .section_by_name(".modinfo")
            .context("it has no .modinfo")?
            .data()?;
        let depends = info
            .split(|byte| *byte == 0)
            .find_map(|entry| entry.strip_prefix(b"depends="));
        let depends = String::from_utf8_lossy(depends.unwrap_or_default());
        Ok(depends
            .split(',')
            .filter(|name| !name.is_empty())
            .map(canonical)
            .collect())
    }
}

/// Returns the modules that a guest with this kernel loads, each after those that it needs. What is built in is
/// left out.
///
/// # Errors
///
/// The kernel has one of them neither as a module nor built in, or a module cannot be read.
pub(crate) fn needed(kernel: &Kernel) -> Result<Vec<Module>> {
    let Some(directory) = &kernel.modules else {
        return Ok(Vec::new());
    };
    let mut tree = Tree {
        files: HashMap::new(),
        built_in: built_in(directory)?,
        loaded: Vec::new(),
    };
    tree.search(&directory.join("kernel"))?;
    for name in USED {
        tree.load(name)?;
    }
    Ok(tree.loaded)
}

/// A kernel's modules.
struct Tree {
    files: HashMap<String, PathBuf>,
    built_in: Vec<String>,
    loaded: Vec<Module>,
}

impl Tree {
    /// Finds the modules under `directory`.
    fn search(&mut self, directory: &Path) -> Result<()> {
        for entry in fs::read_dir(directory)
            .with_context(|| format!("cannot read {}", directory.display()))?
        {
            let path = entry?.path();
            if path.is_dir() {
                self.search(&path)?;
            } else if let Some(name) = module_name(&path) {
                self.files.insert(name, path);
            }
        }
        Ok(())
    }

    /// Adds the module `name` after those that it needs.
    fn load(&mut self, name: &str) -> Result<()> {
        if self.loaded.iter().any(|module| module.name == name)
            || self.built_in.iter().any(|known| known == name)
        {
            return Ok(());
        }
        let path = self.files.get(name);
        let path = path.with_context(|| {
            format!("this kernel has no {name}; choose another kernel with --kernel")
        })?;
        let object = read(path)?;
        let module = Module {
            name: name.into(),
            object,
        };
        for needed in module
            .depends()
            .with_context(|| format!("cannot read the module {}", path.display()))?
        {
            self.load(&needed)?;
        }
        self.loaded.push(module);
        Ok(())
    }
}

/// Returns the names of what is built into the kernel.
fn built_in(directory: &Path) -> Result<Vec<String>> {
    let path = directory.join("modules.builtin");
    let list =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(list
        .lines()
        .filter_map(|line| module_name(Path::new(line)))
        .collect())
}

/// Returns the name of the module in the file at `path`. `None` where it is no module.
fn module_name(path: &Path) -> Option<String> {
    let (name, end) = path.file_name()?.to_str()?.split_once(".ko")?;
    ["", ".xz", ".zst", ".gz"]
        .contains(&end)
        .then(|| canonical(name))
}

/// Returns the name as the kernel writes it.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

/// Returns the module at `path`, decompressed.
fn read(path: &Path) -> Result<Vec<u8>> {
    let (program, package) = match path.extension().and_then(|end| end.to_str()) {
        Some("ko") => {
            return fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        }
        Some("xz") => ("xz", "xz-utils"),
        Some("zst") => ("zstd", "zstd"),
        Some("gz") => ("gzip", "gzip"),
        _ => bail!(
            "{} is compressed in a way that is not known",
            path.display()
        ),
    };
    require(program, package)?;
    let output = Command::new(program).arg("-dc").arg(path).output()?;
    ensure!(
        output.status.success(),
        "{program} cannot decompress {}",
        path.display()
    );
    Ok(output.stdout)
}
