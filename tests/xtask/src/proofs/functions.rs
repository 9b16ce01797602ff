//! Whether the proof names every public function of the core: one that it forgets is not proved.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use syn::visit::{self, Visit};
use syn::{ExprPath, File, ImplItemFn, ItemFn, ItemImpl, ItemTrait, Path as SynPath, TraitItemFn};
use syn::{Type, Visibility};

use crate::paths;

/// What of the core has no functions to prove, and why.
const WITHOUT: [(&str, &str); 2] = [("fmt", "a macro"), ("lib", "modules")];

/// Functions that the proof does not call, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("Sys::open", "implemented by the world, not by the core"),
    ("Sys::ioctl_info", "implemented by the world"),
    ("Sys::ioctl_value", "implemented by the world"),
    ("Sys::ioctl_fd", "implemented by the world"),
    ("Sys::ioctl_name", "implemented by the world"),
    ("Sys::pread", "implemented by the world"),
    ("Sys::pwrite", "implemented by the world"),
    ("Sys::exchange", "implemented by the world"),
    ("Sys::exchange_open", "implemented by the world"),
    ("Sys::read", "implemented by the world"),
    ("Sys::write", "implemented by the world"),
    ("Sys::exchange_memory", "implemented by the world"),
    ("Sys::exchange_mapping", "implemented by the world"),
    ("Sys::map", "implemented by the world"),
    ("Sys::page_size", "implemented by the world"),
    ("Sys::now", "implemented by the world"),
    ("Sys::memory", "implemented by the world"),
    ("Sys::physical_memory", "implemented by the world"),
    ("Sys::foreign_memory", "implemented by the world"),
    ("Sys::physical_address", "implemented by the world"),
    ("Sys::event", "implemented by the world"),
    ("Sys::event_take", "implemented by the world"),
    ("Sys::event_signal", "implemented by the world"),
    ("Sys::events_wait", "implemented by the world"),
    ("Access::len", "implemented by the world"),
    ("Access::protection", "implemented by the world"),
    ("Access::load", "implemented by the world"),
    ("Access::store", "implemented by the world"),
    ("Access::load_bytes", "what windows call"),
    ("Access::store_bytes", "what windows call"),
    ("ConfigAccess::size", "implemented by the world"),
    ("ConfigAccess::read", "implemented by the world"),
    ("ConfigWrite::write", "implemented by the world"),
    ("Allocator::allocate", "sealed; what buffers call"),
    ("Allocator::free", "sealed; what buffers call"),
    ("Allocator::maps", "sealed; what buffers call"),
    ("Allocator::sys", "sealed; what buffers call"),
    ("Raw::read_relaxed", "what loads call"),
    ("Raw::read_volatile", "what loads call"),
    ("Raw::write_relaxed", "what stores call"),
    ("Raw::write_volatile", "what stores call"),
];

/// Compares the public functions of the core with those that the proof names.
///
/// Functions are told apart as `Type::name` or `module::name`. What a macro declares is not seen.
///
/// # Errors
///
/// A function is missing from the proof, an exception is not needed, or a file can't be read.
pub(crate) fn check() -> Result<()> {
    let root = paths::root();
    let mut declared = Declared::default();
    let source = root.join("core/src");
    for module in modules(&source)? {
        for file in sources(&source.join(&module))? {
            declared.module = room(&file, &source);
            declared.visit_file(&parse(&file)?);
        }
    }
    let mut named = Named::default();
    for file in sources(&root.join("tests/freestanding/src/no_panic"))? {
        named.visit_file(&parse(&file)?);
    }

    for &(exception, _) in EXCEPTIONS {
        ensure!(
            declared.functions.contains(exception),
            "{exception} is an exception, and is no public function of the core"
        );
    }
    let missing: Vec<&str> = declared
        .functions
        .difference(&named.functions)
        .map(String::as_str)
        .filter(|name| !EXCEPTIONS.iter().any(|(exception, _)| exception == name))
        .collect();
    ensure!(
        missing.is_empty(),
        "tests/freestanding/src/no_panic does not call {}",
        missing.join(", ")
    );
    println!(
        "{} public functions, {} of them exceptions",
        declared.functions.len(),
        EXCEPTIONS.len()
    );
    Ok(())
}

/// The functions that the core's sources declare.
#[derive(Default)]
struct Declared {
    functions: BTreeSet<String>,
    module: String,
    /// The type whose inherent functions are being visited; empty in the implementation of a trait.
    type_: Option<String>,
}

impl Declared {
    fn add(&mut self, owner: &str, name: &syn::Ident) {
        self.functions.insert(format!("{owner}::{name}"));
    }
}

impl<'ast> Visit<'ast> for Declared {
    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        self.type_ = match (&item.trait_, &*item.self_ty) {
            (None, Type::Path(path)) => last(&path.path),
            _ => None,
        };
        visit::visit_item_impl(self, item);
        self.type_ = None;
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        if let (Some(type_), Visibility::Public(_)) = (self.type_.clone(), &function.vis) {
            self.add(&type_, &function.sig.ident);
        }
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        if matches!(item.vis, Visibility::Public(_)) {
            self.type_ = Some(item.ident.to_string());
            visit::visit_item_trait(self, item);
            self.type_ = None;
        }
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(type_) = self.type_.clone() {
            self.add(&type_, &function.sig.ident);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        if matches!(function.vis, Visibility::Public(_)) {
            self.add(&self.module.clone(), &function.sig.ident);
        }
    }
}

/// The functions that the proof names.
#[derive(Default)]
struct Named {
    functions: BTreeSet<String>,
}

impl<'ast> Visit<'ast> for Named {
    fn visit_expr_path(&mut self, expression: &'ast ExprPath) {
        let segments: Vec<String> = expression
            .path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        if let [.., owner, name] = segments.as_slice() {
            self.functions.insert(format!("{owner}::{name}"));
        }
        visit::visit_expr_path(self, expression);
    }
}

fn last(path: &SynPath) -> Option<String> {
    path.segments
        .last()
        .map(|segment| segment.ident.to_string())
}

/// Returns the modules in `directory` that have functions to prove.
fn modules(directory: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for entry in
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?
    {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default();
        found.insert(name.to_string_lossy().into_owned());
    }
    for (without, _) in WITHOUT {
        ensure!(found.remove(without), "the core has no {without}");
    }
    Ok(found)
}

/// Returns the sources of a module: the file `path.rs`, or those in the directory `path` and below.
fn sources(path: &Path) -> Result<Vec<PathBuf>> {
    let file = path.with_extension("rs");
    if file.is_file() {
        return Ok(vec![file]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))? {
        let entry = entry?.path();
        if entry.is_dir() {
            found.extend(sources(&entry)?);
        } else {
            found.push(entry);
        }
    }
    Ok(found)
}

/// Returns the module through which the functions of a file are named: the folder that it is in, or
/// the file itself where that is none.
fn room(file: &Path, source: &Path) -> String {
    let folder = file.parent().filter(|folder| *folder != source);
    let name = folder.map_or(file.file_stem(), Path::file_name);
    name.unwrap_or_default().to_string_lossy().into_owned()
}

fn parse(file: &Path) -> Result<File> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    syn::parse_file(&text).with_context(|| format!("cannot parse {}", file.display()))
}
