//! The program `vfio`.
fn main() {}
