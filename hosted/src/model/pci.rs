//! What the PCI devices have in common.

use std::vec::Vec;

use vfio_core::wire::abi::{IrqFlags, RegionFlags};
use vfio_core::wire::server::IrqReply;

use super::{Config, RegionDescription};

/// Read and write.
pub(super) const TRAPPED: RegionFlags = RegionFlags::READ.union(RegionFlags::WRITE);
/// Read, write and map.
pub(super) const MAPPED: RegionFlags = TRAPPED.union(RegionFlags::MMAP);

/// Returns the nine regions of a PCI device: `present` by index, the configuration space at 7, no
/// VGA, and the others empty.
pub(super) fn pci_regions<const N: usize>(
    config: &Config,
    present: [(usize, RegionDescription); N],
) -> Vec<Option<RegionDescription>> {
    let config_len = u64::try_from(config.bytes().len()).unwrap_or(0);
    let mut regions: Vec<_> = (0..9)
        .map(|index| match index {
            7 => Some(RegionDescription::new(7, TRAPPED, config_len)),
            8 => None,
            _ => Some(RegionDescription::new(index, RegionFlags::empty(), 0)),
        })
        .collect();
    for (index, region) in present {
        if let Some(slot) = regions.get_mut(index) {
            *slot = Some(region);
        }
    }
    regions
}

/// Returns the five interrupt indexes of a PCI device, each with its count. The error interrupt is
/// there if `is_pcie`.
pub(super) fn pci_irqs(intx: u32, msi: u32, msix: u32, is_pcie: bool) -> [Option<IrqReply>; 5] {
    let noresize = IrqFlags::EVENTFD | IrqFlags::NORESIZE;
    let irq = |flags, count| Some(IrqReply { flags, count });
    [
        irq(
            IrqFlags::EVENTFD | IrqFlags::MASKABLE | IrqFlags::AUTOMASKED,
            intx,
        ),
        irq(noresize, msi),
        // The kernel can grow MSI-X where there is any.
        irq(
            if msix == 0 {
                noresize
            } else {
                IrqFlags::EVENTFD
            },
            msix,
        ),
        if is_pcie { irq(noresize, 1) } else { None },
        irq(noresize, 1),
    ]
}
