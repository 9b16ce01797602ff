//! Does the reference driver drive the device?

use anyhow::{Result, ensure};
use vfio_core::device::irq::Vectors;
use vfio_core::dma::Dma;
use vfio_core::open::Session;
use vfio_core::sys::Errno;
use vfio_core::wire::abi::{pci_irq, pci_region};
use vfio_drivers::edu::Edu;
use vfio_exercise::Outcome;
use vfio_exercise::edu::{Report, exercise, run};
use vfio_guest::Device;
use vfio_hosted::linux::Linux;

use crate::mode::{InGuest as _, Mode};
use crate::world::{World, place};

/// Runs the whole reference driver of edu.
pub(crate) fn edu(_: &World, device: &Device, mode: Mode) -> Result<String> {
    let (space, device) = mode.open(device)?;
    let bar0 = device.bring_up(pci_region::BAR0)?;
    let dma = Dma::<_, 64>::new(Linux, space)?;
    let seen = passed(&exercise(&device, bar0, &dma))?;
    let left = dma.space().unmap_all();
    ensure!(
        matches!(left, Ok(0) | Err(Errno::ENOENT)),
        "left mapped: {left:?}"
    );
    Ok(seen)
}

/// Runs the reference driver of edu where there is no IOMMU, in the one mode that there is.
pub(crate) fn edu_without_iommu(_: &World, device: &Device) -> Result<String> {
    let session = Session::open(&Linux, &place(device)?.as_place())?;
    ensure!(session.mode == Mode::NoIommu, "{}", session.mode);
    passed(&run(Linux, session)?)
}

/// Checks that the device interrupts through its pin: each time once, and again only when it is let
/// through.
pub(crate) fn edu_through_its_pin(_: &World, device: &Device, mode: Mode) -> Result<String> {
    let (_space, device) = mode.open(device)?;
    let mut edu = Edu::new(device.bring_up(pci_region::BAR0)?)?;
    let vectors: Vectors<_, 1> = device.vectors(pci_irq::INTX)?;
    for bits in [1, 2, 0x8000_0000] {
        edu.raise(bits, &vectors)?;
    }
    let factorial = edu.factorial_by_interrupt(10, &vectors)?;
    ensure!(factorial == 3_628_800, "10! is {factorial}");
    let more = vectors.take(0)?;
    ensure!(more == 0, "{more} interrupts too many");
    Ok("4 interrupts".into())
}

/// Checks that every step has passed.
fn passed<E: core::fmt::Debug>(report: &Report<E>) -> Result<String> {
    for (step, outcome) in &report.steps {
        ensure!(
            matches!(outcome, Outcome::Passed),
            "{}: {outcome:?}",
            step.name()
        );
    }
    Ok("every step passed".into())
}
