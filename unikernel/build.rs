//! Links the images: at a fixed address, with nothing of the host's.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
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
