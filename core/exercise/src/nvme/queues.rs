//! Several queue pairs, and interrupts.

use vfio_core::device::DeviceHandle;
use vfio_core::device::irq::Vectors;
use vfio_core::wire::abi::pci_irq;
use vfio_drivers::nvme::{Completion, ControllerHandle, NvmeError, QueuePair};

use super::area::Area;
use super::data::{bytes, compare, ended, word, write_all};
use super::{DEPTH, Done, Outcome, SOON};
use crate::report::same;

/// Writes through one queue pair and reads through another, while commands of both are under way.
pub(super) fn queues<C: ControllerHandle>(
    controller: C,
    pair: &mut QueuePair<C, DEPTH>,
    area: &Area,
) -> Done<C> {
    if controller.queues() < 2 {
        return Err(Outcome::NotThere);
    }
    let mut other = QueuePair::<_, 1>::new(controller, area.options(None))?;
    let slot = write_all(pair, area, 0x2222)?;
    pair.read(slot, &area.namespace, area.lba, area.blocks)?;
    let slot = other.slot().ok_or(Outcome::NotRun)?;
    other.read(slot, &area.namespace, area.lba, area.blocks)?;
    pair.ring()?;
    other.ring()?;
    let len = bytes(area, area.blocks);
    let slot = ended(&mut other)?;
    compare(&mut other, &slot, len, |at| word(0x2222, at))?;
    other.release(slot)?;
    let slot = ended(pair)?;
    compare(pair, &slot, len, |at| word(0x2222, at))?;
    pair.release(slot)?;
    Ok(())
}

pub(super) fn interrupt<D: DeviceHandle, C: ControllerHandle>(
    device: D,
    controller: C,
    area: &Area,
) -> Done<C> {
    let vectors = Vectors::<_, 2>::new(device, pci_irq::MSIX).map_err(Outcome::Irq)?;
    let mut pair = QueuePair::<_, DEPTH>::new(controller, area.options(Some(1)))?;
    for round in 0..4 {
        let slot = pair.slot().ok_or(Outcome::NotRun)?;
        pair.read(slot, &area.namespace, area.lba, 1)?;
        pair.ring()?;
        let came = vectors.wait(1, SOON).map_err(NvmeError::Wait)?;
        same(1_u64, came.min(1))?;
        let ended = pair.wait_for_interrupt(&vectors)?;
        let Some(Completion { slot, result, .. }) = ended else {
            return Err(Outcome::Wrong {
                expected: 1,
                got: round,
            });
        };
        result.map_err(NvmeError::Command)?;
        pair.release(slot)?;
    }
    Ok(())
}
