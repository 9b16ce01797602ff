//! Links the images: at a fixed address, with nothing of the host's.
//!
//! Built by another profile than theirs, they are programs of the host, which say how an image is
//! built: all features of a workspace can be built at once then.

use std::path::Path;

/// The profile of images.
const PROFILE: &str = "image";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Of a profile cargo tells the one that it inherits from; its own name is that of the directory:
    // PROFILE/build/PACKAGE/out.
    let out = std::env::var("OUT_DIR").unwrap_or_default();
    let profile = Path::new(&out).ancestors().nth(3).and_then(Path::file_name);
    if profile.is_none_or(|profile| profile != PROFILE) {
        return;
    }
    println!("cargo::rerun-if-changed=linker.ld");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/linker.ld");
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none",
        // Segments lie in the file without gaps.
        "-Wl,--nmagic",
        &format!("-Wl,-T,{script}"),
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
        println!("cargo::rustc-link-arg-examples={argument}");
    }
    // The place of the log's strings, which is for the host alone.
    println!("cargo::rustc-link-arg-bins=-Wl,-T,defmt.x");
    println!("cargo::rustc-link-arg-examples=-Wl,-T,defmt.x");
}
