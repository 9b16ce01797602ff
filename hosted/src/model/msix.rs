//! A device with an MSI-X table that may be mapped.

use vfio_core::wire::abi::DeviceFlags;

use super::pci::{MAPPED, pci_irqs, pci_regions};
use super::{Bar, Config, Description, HotReset, Model, MsixTable, RegionCap, RegionDescription};

/// Bytes of the BAR.
pub(super) const BAR: u64 = 16 << 10;
/// Where the table of 65 entries, 16 bytes each, is.
pub(super) const TABLE: MsixTable = MsixTable {
    region: 0,
    offset: 0x2000,
    size: 65 * 16,
};

/// Returns the configuration space of QEMU's `nvme`, as far as it is needed.
pub(super) fn config() -> Config {
    Config::pcie(0x1b36, 0x0010, 0x01_0802, 0x02)
        .with_bar(0, Bar::Memory64 { size: BAR })
        .with_interrupt_pin(1)
        // MSI-X: 65 entries; the table at 0x2000 and the pending bits at 0x3000 of BAR 0.
        .with_capability(0x40, 0x11, &[64, 0, 0x00, 0x20, 0, 0, 0x00, 0x30, 0, 0])
        // An endpoint of PCI Express, which can reset its function.
        .with_capability(0x80, 0x10, &[0x02, 0, 0, 0, 0, 0x10])
}

/// Returns QEMU's `nvme` behind a root port: its one BAR of 16 KiB has the MSI-X table in it, and
/// may be mapped whole.
#[must_use]
pub fn msix() -> Model {
    let config = config();
    let bar = RegionDescription::new(0, MAPPED, BAR).with_cap(RegionCap::MsixMappable);
    Model::new(Description {
        flags: DeviceFlags::PCI | DeviceFlags::RESET,
        regions: pci_regions(&config, [(0, bar)]),
        irqs: pci_irqs(1, 0, 65, true).into(),
        hot_reset: HotReset::Itself,
        config,
        msix_table: Some(TABLE),
        ..Default::default()
    })
}
