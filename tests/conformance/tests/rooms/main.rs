//! Lower rooms import no higher ones: the order in which the source is to be read.

mod paths;

use std::path::Path;

use paths::{modules, paths};

/// An order of modules that stand next to each other.
struct Order {
    /// The root of the crate, below the workspace.
    root: &'static str,
    /// The module that they are in.
    within: &'static [&'static str],
    /// All of them, the lowest first: each may import those before it.
    rooms: &'static [&'static str],
}

const CORE: &str = "core/src/lib.rs";
const HOSTED: &str = "hosted/src/lib.rs";

const ORDERS: [Order; 4] = [
    Order {
        root: CORE,
        within: &[],
        rooms: &[
            "fmt", "wire", "handle", "mmio", "sys", "query", "device", "open", "dma", "pci",
        ],
    },
    Order {
        root: CORE,
        within: &["wire"],
        rooms: &[
            "errno",
            "abi",
            "request",
            "chain",
            "caps",
            "info",
            "server",
            "vfio_user",
        ],
    },
    Order {
        root: HOSTED,
        within: &[],
        rooms: &[
            "lock",
            "place",
            "linux",
            "discovery",
            "model",
            "vfio_user",
            "report",
            "sim",
            "failing",
        ],
    },
    SIM,
];

const SIM: Order = Order {
    root: HOSTED,
    within: &["sim"],
    rooms: &[
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
    ],
};

impl Order {
    /// Tells whether the module `here` may import what is at `path`.
    fn permits(&self, here: &[&str], path: &[&str]) -> bool {
        let height = |room: &str| self.rooms.iter().position(|known| *known == room);
        let Some([room, ..]) = here.strip_prefix(self.within) else {
            return true;
        };
        let path = path.strip_suffix(&["*"]).unwrap_or(path);
        match path.strip_prefix(self.within) {
            Some([named, ..]) => {
                matches!((height(room), height(named)), (Some(own), Some(other)) if other <= own)
            }
            // Whoever has what they are in has all of them.
            Some([]) => false,
            None => !self.within.starts_with(path),
        }
    }

    /// Returns the paths of the module `here` that it may not import.
    fn misplaced(&self, here: &[&str], paths: &[Vec<String>]) -> Vec<String> {
        let paths = paths.iter().filter(|path| {
            let names: Vec<_> = path.iter().map(String::as_str).collect();
            !self.permits(here, &names)
        });
        paths.map(|path| path.join("::")).collect()
    }

    fn misplaced_in(&self, here: &[&str], text: &str) -> Vec<String> {
        self.misplaced(here, &paths(here, text))
    }
}

#[test]
fn lower_rooms_import_no_higher_ones() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for order in &ORDERS {
        let mut seen: Vec<String> = vec![];
        let mut wrong = vec![];
        for module in modules(&workspace.join(order.root)) {
            let names: Vec<_> = module.names.iter().map(String::as_str).collect();
            if let Some([room, ..]) = names.strip_prefix(order.within) {
                seen.push(room.to_string());
            }
            for path in order.misplaced(&names, &module.paths) {
                wrong.push(format!("{} imports {path}", names.join("::")));
            }
        }
        assert_eq!(wrong, [""; 0], "{}", order.root);
        seen.sort();
        seen.dedup();
        let mut known = order.rooms.to_vec();
        known.sort_unstable();
        assert_eq!(seen, known, "{} {:?}", order.root, order.within);
    }
}

#[test]
fn imports_are_seen_in_every_form() {
    for text in [
        "use crate::sim::kernel::Kernel;",
        "use crate::{lock::lock, sim::{memory::Space, kernel::{self, Kernel as K}}};",
        "use super::super::kernel;",
        "mod inner { use super::super::super::kernel::*; }",
        "fn f() { crate::sim::kernel::lock(); }",
        "fn f() -> Option<super::super::kernel::Kernel> { None }",
        "fn f() { assert_eq!(crate::sim::kernel::FEW, 1); }",
        "macro_rules! m { () => { $crate::sim::kernel::FEW } }",
        "impl crate::sim::kernel::Act for () {}",
    ] {
        let found = SIM.misplaced_in(&["sim", "memory", "space"], text);
        assert!(
            found.iter().any(|path| path.starts_with("sim::kernel")),
            "{text}: {found:?}"
        );
        let allowed = SIM.misplaced_in(&["sim", "kernel", "sys"], text);
        assert_eq!(allowed.len(), 0, "{text}");
    }
}

#[test]
fn what_tests_import_does_not_count() {
    let text = "#[cfg(test)] mod tests { use crate::sim::kernel::Kernel; }";
    assert_eq!(SIM.misplaced_in(&["sim", "memory"], text).len(), 0);
}

#[test]
fn a_room_is_named_where_something_of_it_is_imported() {
    for text in [
        "use crate::sim::Kernel;",
        "use crate::sim;",
        "use crate::*;",
        "use super::super::*;",
    ] {
        let found = SIM.misplaced_in(&["sim", "memory", "space"], text);
        assert_ne!(found.len(), 0, "{text}");
    }
    let permitted = "use super::*; use crate::sim::pages::{PAGE, Pages}; use crate::model::Fault;";
    let found = SIM.misplaced_in(&["sim", "memory", "space"], permitted);
    assert_eq!(found.len(), 0, "{found:?}");
}
