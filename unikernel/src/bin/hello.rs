//! The smallest image: it says that it runs.
#![no_std]
#![no_main]

use vfio_unikernel::boot::{Boot, BootError};

vfio_unikernel::entry!(main);

fn main(_: &Boot) -> Result<(), BootError> {
    defmt::info!("hello");
    Ok(())
}
