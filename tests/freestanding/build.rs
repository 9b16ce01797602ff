//! Links the programs without libc, at a fixed address.
//!
//! Built by another profile than theirs, they are ordinary programs, which say how they are built: all features of a workspace
//! can be built at once then.

use std::path::Path;

/// The profile of these programs.
const PROFILE: &str = "freestanding";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Of a profile cargo tells the one that it inherits from; its own name is that of the directory: PROFILE/build/PACKAGE/out.
    let out = std::env::var("OUT_DIR").unwrap_or_default();
    let profile = Path::new(&out).ancestors().nth(3).and_then(Path::file_name);
    if profile.is_none_or(|profile| profile != PROFILE) {
        return;
    }
    for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie"] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
