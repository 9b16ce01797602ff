//! An NVMe controller with namespaces in memory.

use super::msix::{BAR, TABLE, config};
use super::{MAPPED, Model, pci_irqs, pci_regions};
use crate::sim::{Description, HotReset, Nvme, NvmeNamespace, Region, RegionCap};
use vfio_core::wire::abi::DeviceFlags;

/// Blocks of the namespaces, so that each has 16 MiB.
const BLOCKS_512: u64 = 32 << 10;
const BLOCKS_4096: u64 = 4 << 10;

/// QEMU's `nvme` with [`Nvme`] in its BAR: a namespace with blocks of 512 bytes and one with blocks
/// of 4096 bytes, 16 MiB each, and shadow doorbells.
#[must_use]
pub fn nvme() -> Model {
    nvme_with(
        Nvme::new()
            .with_shadow_doorbells()
            .with_namespace(NvmeNamespace::of_512(BLOCKS_512))
            .with_namespace(NvmeNamespace::of_4096(BLOCKS_4096)),
    )
}

/// As [`nvme`], with another controller.
#[must_use]
pub fn nvme_with(nvme: Nvme) -> Model {
    let config = config();
    let bar = Region::new(0, MAPPED, BAR).with_cap(RegionCap::MsixMappable);
    Model::new(Description {
        flags: DeviceFlags::PCI | DeviceFlags::RESET,
        regions: pci_regions(&config, [(0, bar)]),
        irqs: pci_irqs(1, 0, 65, true).into(),
        hot_reset: HotReset::Itself,
        config,
        msix_table: Some(TABLE),
        ..Default::default()
    })
    .with_registers(nvme)
}
