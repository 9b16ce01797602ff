//! Calls every public function of the core, and the reference drivers, with values unknown to the compiler.
//!
//! This program is not run: that it links is the proof that none of them can panic. What prints (`Display` and
//! `Debug`) is left out; it uses `core::fmt`, about which nothing is claimed.
#![no_std]
#![no_main]

mod abi;
mod caps;
mod chain;
mod client;
mod control;
mod coverage;
mod drive;
mod drivers;
mod info;
mod iova;
mod pci;
mod query;
mod server;
mod session;
mod vfio_user;
mod virtio;

use core::hint::black_box;

use vfio_freestanding::opaque::any;

vfio_freestanding::entry!(run);
vfio_freestanding::link_without_panic!();

fn run() -> i32 {
    let mut memory = [0_u8; 4096];
    let memory = black_box(&mut memory[..]);
    let (a, b) = memory.split_at_mut_checked(any()).unwrap_or_default();
    let (a, b) = (black_box(a), black_box(b));
    abi::all();
    chain::all(a);
    caps::all(a);
    info::all(a);
    query::all(a, b);
    server::all(a);
    coverage::all(a);
    iova::all();
    client::all(a);
    drive::all(a);
    drivers::all(a);
    control::all(a);
    pci::all(a);
    session::all();
    vfio_user::all(a);
    #[cfg(feature = "deliberate-panic")]
    vfio_freestanding::opaque::used(a[any::<usize>()]);
    0
}
