//! Which modules a crate has, and which paths each of them names.

use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, Ident, Item, ItemMod, ItemUse, Macro, UseTree, VisRestricted};

/// A module that stands in a file of its own, and is not for tests alone.
pub(crate) struct Module {
    /// Its names, from the root of the crate on.
    pub(crate) names: Vec<String>,
    /// The paths in it, as those that begin at the root.
    pub(crate) paths: Vec<Vec<String>>,
}

/// Reads the modules of the crate whose root is `file`.
pub(crate) fn modules(file: &Path) -> Vec<Module> {
    let mut found = vec![];
    let folder = file.parent().unwrap();
    add_module(vec![], file, folder, &mut found);
    found
}

/// Returns the paths in the text of the module `here`, from the root of the crate on.
pub(crate) fn paths(here: &[&str], text: &str) -> Vec<Vec<String>> {
    let here = here.iter().map(ToString::to_string).collect();
    Paths::of(here, &syn::parse_file(text).unwrap())
}

/// Adds the module in `file`, and those below it, whose files lie in `folder`.
fn add_module(names: Vec<String>, file: &Path, folder: &Path, found: &mut Vec<Module>) {
    let text = fs::read_to_string(file).unwrap();
    let parsed = syn::parse_file(&text).unwrap();
    found.push(Module {
        names: names.clone(),
        paths: Paths::of(names.clone(), &parsed),
    });
    for item in &parsed.items {
        if let Item::Mod(module) = item
            && module.content.is_none()
            && !is_for_tests(&module.attrs)
        {
            let name = module.ident.to_string();
            let (file, folder) = (file_of(folder, &name), folder.join(&name));
            add_module([&names[..], &[name]].concat(), &file, &folder, found);
        }
    }
}

/// Returns the file of the module `name` whose parent's modules lie in `folder`.
fn file_of(folder: &Path, name: &str) -> PathBuf {
    let file = folder.join(name).with_extension("rs");
    if file.exists() {
        file
    } else {
        folder.join(name).join("mod.rs")
    }
}

/// Tells whether a module is compiled for tests alone.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<Ident>()
                .is_ok_and(|name| name == "test" || name == "doctest")
    })
}

/// Collects the paths in a file.
struct Paths {
    /// The module that is looked at.
    here: Vec<String>,
    found: Vec<Vec<String>>,
}

impl Paths {
    fn of(here: Vec<String>, file: &syn::File) -> Vec<Vec<String>> {
        let mut paths = Self {
            here,
            found: vec![],
        };
        paths.visit_file(file);
        paths.found
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
        if !is_for_tests(&module.attrs) {
            self.here.push(module.ident.to_string());
            visit::visit_item_mod(self, module);
            self.here.pop();
        }
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

    /// Reads the tokens of a macro, whose text has a space around each.
    fn visit_macro(&mut self, call: &'a Macro) {
        let text = call.tokens.to_string().replace(" :: ", "::");
        let is_inside = |character: char| character.is_alphanumeric() || "_:".contains(character);
        for path in text.split(|character| !is_inside(character)) {
            let names: Vec<_> = path.split("::").map(ToString::to_string).collect();
            self.add(&names);
        }
        visit::visit_macro(self, call);
    }

    /// Skips who may see an item: that is no import.
    fn visit_vis_restricted(&mut self, _: &'a VisRestricted) {}
}
