//! Lower rooms of the simulation import no higher ones, and models nothing of the kernel.

use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Ident, ItemMod, ItemUse, Macro, UseTree, VisRestricted};

/// The rooms of the simulated kernel, the lowest first: each may import those before it.
const ROOMS: [&str; 11] = [
    "answer",
    "bitmap",
    "ledger",
    "pages",
    "signal",
    "structure",
    "memory",
    "device",
    "files",
    "handle",
    "kernel",
];

/// What is below the simulated kernel and knows nothing of it.
const BELOW: [&str; 2] = ["lock", "model"];

/// The paths in a file, from the root of the crate.
struct Paths {
    /// The module that is looked at.
    here: Vec<String>,
    found: Vec<Vec<String>>,
}

impl Paths {
    /// Those of the file of the module `here`.
    fn of(here: &[&str], text: &str) -> Self {
        let mut paths = Self {
            here: here.iter().map(ToString::to_string).collect(),
            found: vec![],
        };
        paths.visit_file(&syn::parse_file(text).unwrap());
        paths
    }

    /// Keeps a path where it begins at the root or goes up; others lead down from here.
    fn add(&mut self, path: &[String]) {
        let mut at = match path.first().map(String::as_str) {
            Some("crate") => vec![],
            Some("self" | "super") => self.here.clone(),
            _ => return,
        };
        for name in path {
            match name.as_str() {
                "crate" | "self" => (),
                "super" => drop(at.pop()),
                _ => at.push(name.clone()),
            }
        }
        self.found.push(at);
    }

    /// Adds each path of a tree of imports.
    fn add_tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: &Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.add_tree(&with(&path.ident), &path.tree),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_tree(before, tree);
                }
            }
            UseTree::Name(name) => self.add(&with(&name.ident)),
            UseTree::Rename(name) => self.add(&with(&name.ident)),
            UseTree::Glob(_) => self.add(&[before, &["*".to_string()]].concat()),
        }
    }
}

impl<'a> Visit<'a> for Paths {
    fn visit_item_mod(&mut self, module: &'a ItemMod) {
        self.here.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.here.pop();
    }

    fn visit_item_use(&mut self, item: &'a ItemUse) {
        self.add_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let names = path.segments.iter();
        let names: Vec<_> = names.map(|name| name.ident.to_string()).collect();
        self.add(&names);
        visit::visit_path(self, path);
    }

    /// What a macro is given is tokens, whose text has a space around each.
    fn visit_macro(&mut self, call: &'a Macro) {
        let text = call.tokens.to_string().replace(" :: ", "::");
        let is_inside = |character: char| character.is_alphanumeric() || "_:".contains(character);
        for path in text.split(|character| !is_inside(character)) {
            let names: Vec<_> = path.split("::").map(ToString::to_string).collect();
            self.add(&names);
        }
        visit::visit_macro(self, call);
    }

    /// Who may see an item is no import.
    fn visit_vis_restricted(&mut self, _: &'a VisRestricted) {}
}

/// Whether the module `here`, of a room or below all of them, may import what is at `path`.
fn may_import(here: &[&str], path: &[&str]) -> bool {
    let height = |room: &str| ROOMS.iter().position(|known| *known == room);
    match (here, path) {
        // Whoever has the whole crate has the kernel.
        (_, [] | ["*"]) => false,
        (["sim", room, ..], ["sim", named, ..]) => {
            matches!((height(room), height(named)), (Some(own), Some(other)) if other <= own)
        }
        (_, ["sim", ..]) => false,
        _ => true,
    }
}

/// The paths in the file of the module `here` that it may not import.
fn misplaced(here: &[&str], text: &str) -> Vec<String> {
    let mut paths = Paths::of(here, text).found;
    paths.retain(|path| {
        let names: Vec<_> = path.iter().map(String::as_str).collect();
        !may_import(here, &names)
    });
    paths.iter().map(|path| path.join("::")).collect()
}

/// The files in a folder, and in those in it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// The module of a file.
fn module(file: &Path, source: &Path) -> Vec<String> {
    let place = file.strip_prefix(source).unwrap().with_extension("");
    let names = place.iter().map(|name| name.to_str().unwrap().to_string());
    names.filter(|name| name != "mod").collect()
}

#[test]
fn lower_rooms_import_no_higher_ones() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen: Vec<String> = vec![];
    let mut wrong = vec![];
    for file in files(&source) {
        let module = module(&file, &source);
        let names: Vec<_> = module.iter().map(String::as_str).collect();
        let room = match *names {
            ["sim", "tests", ..] => continue,
            ["sim", room, ..] => room,
            [below, ..] if BELOW.contains(&below) => below,
            _ => continue,
        };
        seen.push(room.to_string());
        let text = fs::read_to_string(&file).unwrap();
        for path in misplaced(&names, &text) {
            wrong.push(format!("{} imports {path}", module.join("::")));
        }
    }
    assert_eq!(wrong, [""; 0]);
    seen.sort();
    seen.dedup();
    let mut known = [&BELOW[..], &ROOMS].concat();
    known.sort_unstable();
    assert_eq!(seen, known);
}

#[test]
fn imports_are_seen_in_every_form() {
    for text in [
        "use crate::sim::kernel::Kernel;",
        "use crate::{lock::lock, sim::{memory::Space, kernel::{self, Kernel as K}}};",
        "use super::super::kernel;",
        "mod tests { use super::super::super::kernel::*; }",
        "fn f() { crate::sim::kernel::lock(); }",
        "fn f() -> Option<super::super::kernel::Kernel> { None }",
        "fn f() { assert_eq!(crate::sim::kernel::FEW, 1); }",
        "impl crate::sim::kernel::Act for () {}",
    ] {
        let found = misplaced(&["sim", "memory", "space"], text);
        assert!(
            found.iter().any(|path| path.starts_with("sim::kernel")),
            "{text}: {found:?}"
        );
        assert_eq!(
            misplaced(&["sim", "kernel", "sys"], text).len(),
            0,
            "{text}"
        );
    }
}

#[test]
fn models_and_what_is_below_them_import_nothing_of_the_kernel() {
    for text in [
        "use crate::sim::Kernel;",
        "use crate::{lock::lock, sim};",
        "use super::super::super::sim::kernel::Kernel;",
        "use crate::*;",
        "fn f(_: crate::sim::Fd) {}",
        "mod inner { use super::super::super::super::sim; }",
    ] {
        assert_ne!(
            misplaced(&["model", "nvme", "queue"], text).len(),
            0,
            "{text}"
        );
    }
    let permitted = "use super::status; use crate::{lock::lock, model::Bus};";
    assert_eq!(misplaced(&["model", "nvme", "queue"], permitted).len(), 0);
}

#[test]
fn a_room_is_named_where_something_of_it_is_imported() {
    for text in [
        "use crate::sim::Kernel;",
        "use crate::sim;",
        "use super::super::*;",
    ] {
        assert_ne!(
            misplaced(&["sim", "memory", "space"], text).len(),
            0,
            "{text}"
        );
    }
    let permitted = "use super::*; use crate::sim::pages::{PAGE, Pages}; use crate::model::Fault;";
    assert_eq!(misplaced(&["sim", "memory", "space"], permitted).len(), 0);
}
