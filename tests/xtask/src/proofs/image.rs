//! What a linked program consists of.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SectionKind};

/// Parts of names that the functions of an allocator and of the crate `alloc` have, mangled or not.
const ALLOCATING: [&str; 4] = ["__rust_alloc", "__rust_realloc", "__rdl_alloc", "5alloc"];

/// A linked program.
pub(crate) struct Image {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Image {
    /// Reads the program at `path`.
    ///
    /// # Errors
    ///
    /// It can't be read.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self {
            path: path.into(),
            bytes,
        })
    }

    /// Returns the bytes of machine code in it: its sections that can be executed.
    ///
    /// # Errors
    ///
    /// It is no ELF file, or has none.
    pub(crate) fn code_size(&self) -> Result<u64> {
        let size = self
            .parse()?
            .sections()
            .filter(|section| section.kind() == SectionKind::Text)
            .map(|section| section.size())
            .sum();
        ensure!(size > 0, "{} has no code", self.path.display());
        Ok(size)
    }

    /// Returns the machine code of the function `name`.
    ///
    /// # Errors
    ///
    /// It is no ELF file, or there is no such function in it.
    pub(crate) fn function(&self, name: &str) -> Result<Vec<u8>> {
        let file = self.parse()?;
        let symbol = file
            .symbols()
            .find(|symbol| symbol.name() == Ok(name))
            .with_context(|| format!("{} has no function {name}", self.path.display()))?;
        let code = symbol
            .section_index()
            .and_then(|index| file.section_by_index(index).ok())
            .and_then(|section| section.data_range(symbol.address(), symbol.size()).ok())
            .flatten()
            .filter(|code| !code.is_empty())
            .with_context(|| format!("{name} has no code"))?;
        Ok(code.to_vec())
    }

    /// Makes sure that nothing in it allocates.
    ///
    /// # Errors
    ///
    /// A function of an allocator is in it, or its names were stripped.
    pub(crate) fn has_no_allocator(&self) -> Result<()> {
        let file = self.parse()?;
        let names: Vec<&str> = file
            .symbols()
            .filter_map(|symbol| symbol.name().ok())
            .collect();
        ensure!(
            names.contains(&"_start"),
            "{} has no names to look for",
            self.path.display()
        );
        let found = names
            .iter()
            .find(|name| ALLOCATING.iter().any(|part| name.contains(part)));
        ensure!(
            found.is_none(),
            "{} contains {}",
            self.path.display(),
            found.unwrap_or(&"")
        );
        Ok(())
    }

    fn parse(&self) -> Result<object::File<'_>> {
        object::File::parse(self.bytes.as_slice())
            .with_context(|| format!("{} is no ELF file", self.path.display()))
    }
}
