//! Do the drivers of virtio devices drive them?

use anyhow::{Result, bail, ensure};
use vfio_core::dma::Dma;
use vfio_core::open::Session;
use vfio_core::sys::Errno;
use vfio_drivers::virtio::PciTransport;
use vfio_exercise::{Outcome, virtio_blk, virtio_net};
use vfio_guest::Device;
use vfio_hosted::linux::Linux;

use crate::mode::{InGuest as _, Mode};
use crate::world::{World, place};

/// Runs the whole driver of network cards. QEMU's network has an answer.
pub(crate) fn net(_: &World, device: &Device, mode: Mode) -> Result<String> {
    let (space, device) = mode.open(device)?;
    let dma = Dma::<_, 64>::new(Linux, space)?;
    let transport = PciTransport::open(&device, &dma)?;
    let peer = virtio_net::Peer::default();
    let seen = net_passed(&virtio_net::exercise(&device, transport, peer))?;
    nothing_is_left(&dma)?;
    Ok(seen)
}

/// Runs the whole driver of disks.
pub(crate) fn blk(_: &World, device: &Device, mode: Mode) -> Result<String> {
    let (space, device) = mode.open(device)?;
    let dma = Dma::<_, 64>::new(Linux, space)?;
    let transport = PciTransport::open(&device, &dma)?;
    let mut kept = vec![0; virtio_blk::KEPT];
    let seen = blk_passed(&virtio_blk::exercise(transport, &mut kept))?;
    nothing_is_left(&dma)?;
    Ok(seen)
}

/// Runs the driver of network cards where there is no IOMMU.
pub(crate) fn net_without_iommu(_: &World, device: &Device) -> Result<String> {
    let session = Session::open(&Linux, &place(device)?.as_place())?;
    ensure!(session.mode == Mode::NoIommu, "{}", session.mode);
    let peer = virtio_net::Peer::default();
    net_passed(&virtio_net::run(Linux, session, peer)?)
}

/// Runs the driver of disks where there is no IOMMU.
pub(crate) fn blk_without_iommu(_: &World, device: &Device) -> Result<String> {
    let session = Session::open(&Linux, &place(device)?.as_place())?;
    ensure!(session.mode == Mode::NoIommu, "{}", session.mode);
    let mut kept = vec![0; virtio_blk::KEPT];
    blk_passed(&virtio_blk::run(Linux, session, &mut kept)?)
}

/// Checks that every step has passed. QEMU's user network has one pair of queues.
fn net_passed<E: core::fmt::Debug>(report: &virtio_net::Report<E>) -> Result<String> {
    let mut count = 0;
    for (step, outcome) in &report.steps {
        match outcome {
            Outcome::Passed => count += 1,
            Outcome::NotThere if *step == virtio_net::Step::Pairs => (),
            _ => bail!("{}: {outcome:?}", step.name()),
        }
    }
    Ok(format!("{count} steps passed"))
}

/// Checks that every step has passed.
fn blk_passed<E: core::fmt::Debug>(report: &virtio_blk::Report<E>) -> Result<String> {
    for (step, outcome) in &report.steps {
        ensure!(
            matches!(outcome, Outcome::Passed),
            "{}: {outcome:?}",
            step.name()
        );
    }
    Ok(format!("{} steps passed", report.steps.len()))
}

/// Checks that nothing is mapped any more.
fn nothing_is_left(dma: &Dma<Linux, 64>) -> Result<()> {
    let left = dma.space().unmap_all();
    ensure!(
        matches!(left, Ok(0) | Err(Errno::ENOENT)),
        "left mapped: {left:?}"
    );
    Ok(())
}
