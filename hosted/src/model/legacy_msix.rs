//! Devices whose MSI-X table must not be mapped, as vfio-pci of Linux 4.6 to 4.15 had it.

use std::vec;
use std::vec::Vec;

use vfio_core::wire::abi::{DeviceFlags, IrqFlags, RegionSparseMmapArea};
use vfio_core::wire::chain::Align;
use vfio_core::wire::server::Dialect;

use super::pci::{MAPPED, pci_irqs, pci_regions};
use super::{
    Bar, Config, Description, HotReset, Iommu, Model, MsixTable, RegionCap, RegionDescription, msix,
};

/// Linux 4.6 to 4.15: neither devices nor IOMMUs had capabilities.
const LINUX_4_6: Dialect = Dialect {
    align: Align::Packed,
    device_written: 16,
    device_fixed: 20,
    iommu_written: 16,
    ..Dialect::LINUX_6_1
};

const PAGE: u64 = 4096;

/// Returns the device of [`msix()`](super::msix()) on an old kernel: the page with the MSI-X table
/// is cut out of its BAR.
#[must_use]
pub fn legacy_msix() -> Model {
    old(msix::config(), msix::BAR, msix::TABLE, 65)
}

/// Returns a device on an old kernel whose MSI-X table fills its BAR: one area of size 0 is left to
/// map.
#[must_use]
pub fn legacy_msix_full() -> Model {
    let config = Config::pcie(0x1af4, 0x1110, 0x05_0000, 0x01)
        .with_bar(1, Bar::Memory32 { size: 4096 })
        // MSI-X: 8 entries; the table at 0 and the pending bits at 0x800 of BAR 1.
        .with_capability(0x40, 0x11, &[7, 0, 0x01, 0x00, 0, 0, 0x01, 0x08, 0, 0]);
    let table = MsixTable {
        region: 1,
        offset: 0,
        size: 8 * 16,
    };
    old(config, PAGE, table, 8)
}

/// Returns a device whose one BAR, of `size` bytes, holds the MSI-X table of `count` entries.
fn old(config: Config, size: u64, table: MsixTable, count: u32) -> Model {
    let bar = RegionDescription::new(table.region, MAPPED, size)
        .with_cap(RegionCap::SparseMmap(areas_beside(table, size)));
    let index = usize::try_from(table.region).unwrap_or(0);
    let intx = config.bytes().get(0x3d).map_or(0, |pin| u32::from(*pin));
    let mut irqs = pci_irqs(intx, 0, count, true);
    // No kernel could grow MSI-X then.
    if let [_, _, Some(msix), ..] = &mut irqs {
        msix.flags |= IrqFlags::NORESIZE;
    }
    Model::new(Description {
        flags: DeviceFlags::PCI | DeviceFlags::RESET,
        regions: pci_regions(&config, [(index, bar)]),
        irqs: irqs.into(),
        hot_reset: HotReset::Itself,
        config,
        msix_table: Some(table),
        iommu: Iommu::default().without_caps(),
        dialect: LINUX_4_6,
        ..Default::default()
    })
}

/// Returns the areas that the old kernels named: what is before and behind the pages of the table,
/// and where there is neither one area of size 0.
fn areas_beside(table: MsixTable, size: u64) -> Vec<RegionSparseMmapArea> {
    let start = table.offset / PAGE * PAGE;
    let end = table
        .offset
        .saturating_add(table.size)
        .next_multiple_of(PAGE)
        .min(size);
    let mut areas = vec![
        RegionSparseMmapArea {
            offset: 0,
            size: start,
        },
        RegionSparseMmapArea {
            offset: end,
            size: size.saturating_sub(end),
        },
    ];
    areas.retain(|area| area.size != 0);
    if areas.is_empty() {
        areas.push(RegionSparseMmapArea::default());
    }
    areas
}

#[cfg(test)]
mod tests {
    use super::*;

    fn areas(offset: u64, len: u64, size: u64) -> Vec<(u64, u64)> {
        let table = MsixTable {
            region: 0,
            offset,
            size: len,
        };
        let areas = areas_beside(table, size);
        areas.iter().map(|area| (area.offset, area.size)).collect()
    }

    #[test]
    fn the_pages_of_the_table_are_cut_out() {
        assert_eq!(
            areas(0x2000, 0x410, 0x4000),
            [(0, 0x2000), (0x3000, 0x1000)]
        );
        assert_eq!(areas(0x2ff0, 0x20, 0x4000), [(0, 0x2000)]);
        assert_eq!(areas(0, 0x80, 0x4000), [(0x1000, 0x3000)]);
        assert_eq!(areas(0, 0x80, 0x1000), [(0, 0)]);
    }
}
