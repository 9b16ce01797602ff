//! As little as shows the way to a register: `edu` is opened through the shim, its first register
//! is read through the mapped BAR, and what was read is logged.
#![no_std]
#![no_main]
#![expect(
    unsafe_code,
    reason = "a function keeps its name, to be found by the benches"
)]

use vfio_core::device::Device;
use vfio_core::device::region::MappedRegion;
use vfio_core::mmio::Block;
use vfio_core::mmio::field::ReadPure;
use vfio_core::open::{Mode, Session};
use vfio_core::registers;
use vfio_core::sys::NoIommu;
use vfio_core::wire::abi::pci_region;
use vfio_unikernel::GuestPci;
use vfio_unikernel::boot::Boot;
use vfio_unikernel::pci::NoError;
use vfio_unikernel::shim::DiscoverError;

vfio_unikernel::entry!(main);

#[derive(defmt::Format)]
enum Error {
    Discover(DiscoverError),
    NoDevice,
    Open,
    BringUp,
}

registers! {
    /// The first register of `edu`.
    struct Registers: 0x4 {
        0x00 id: ReadPure<u32>,
    }
}

type Edu<'d> = Block<MappedRegion<&'d Device<GuestPci>>, Registers>;

/// Returns a read of a mapped register, alone.
#[unsafe(no_mangle)]
#[inline(never)]
fn mapped_register_read(edu: &Edu<'_>) -> u32 {
    let Ok(id) = read(edu);
    id
}

#[inline]
fn read(edu: &Edu<'_>) -> Result<u32, NoError> {
    edu.get(Registers::id)
}

fn main(boot: &Boot) -> Result<(), Error> {
    // SAFETY: a register is read; the device is given no memory.
    let machine = GuestPci::new(unsafe { NoIommu::acknowledge() });
    machine.discover(boot).map_err(Error::Discover)?;
    let (group, _) = machine.find(0x1234, 0x11e8).ok_or(Error::NoDevice)?;
    let mut name = [0; 13];
    let place = machine.place(group, &mut name).ok_or(Error::NoDevice)?;
    let session = Session::open_in(Mode::NoIommu, &machine, &place).map_err(|_| Error::Open)?;
    let bar0 = session.device.bring_up(pci_region::BAR0);
    let edu: Edu<'_> = bar0
        .map_err(|_| Error::BringUp)?
        .into_block(0)
        .map_err(|_| Error::BringUp)?;
    defmt::info!("{=u32:#x}", mapped_register_read(&edu));
    Ok(())
}
