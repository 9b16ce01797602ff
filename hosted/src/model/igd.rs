//! A graphics device with Intel's device-specific regions.

use vfio_core::wire::abi::{DeviceFlags, RegionFlags};
use vfio_core::wire::caps::RegionKind;

use super::pci::{MAPPED, TRAPPED, pci_irqs, pci_regions};
use super::{Bar, Config, Description, Iommu, Model, PlainMemory, RegionCap, RegionDescription};

const FRAME_BUFFER: u64 = 16 << 20;
const REGISTERS: u64 = 4 << 10;
const ROM: u64 = 128 << 10;
/// From the start of the I/O ports to the end of the legacy frame buffer.
const VGA: u64 = 0xc_0000;
const OPREGION: u64 = 8 << 10;

/// Returns QEMU's `VGA` in the role of Intel's graphics: the OpRegion and the configuration spaces
/// of the host bridge and the LPC bridge are regions 9 to 11, and only their TYPE capabilities say
/// so.
#[must_use]
pub fn igd() -> Model {
    let config = Config::pci(0x8086, 0x1912, 0x03_0000, 0x02)
        .with_bar(0, Bar::Prefetchable32 { size: 16 << 20 })
        .with_bar(2, Bar::Memory32 { size: 4 << 10 })
        .with_rom(128 << 10);
    let mut regions = pci_regions(
        &config,
        [
            (0, RegionDescription::new(0, MAPPED, FRAME_BUFFER)),
            (2, RegionDescription::new(2, MAPPED, REGISTERS)),
            (6, RegionDescription::new(6, RegionFlags::READ, ROM)),
            (8, RegionDescription::new(8, TRAPPED, VGA)),
        ],
    );
    let bridge = Config::pci(0x8086, 0x29c0, 0x06_0000, 0);
    let lpc = Config::pci(0x8086, 0x2918, 0x06_0100, 2);
    regions.extend(
        [
            (9, OPREGION, RegionKind::INTEL_IGD_OPREGION),
            (10, 256, RegionKind::INTEL_IGD_HOST_CFG),
            (11, 256, RegionKind::INTEL_IGD_LPC_CFG),
        ]
        .map(|(index, size, kind)| {
            let region = RegionDescription::new(index, RegionFlags::READ, size);
            Some(region.with_cap(RegionCap::Type(kind)))
        }),
    );
    // The OpRegion starts with its signature, and its size in KiB.
    let memory = PlainMemory::new()
        .with(9, 0x00, b"IntelGraphicsMem")
        .with(9, 0x10, &8_u32.to_le_bytes())
        .with(10, 0, bridge.bytes())
        .with(11, 0, lpc.bytes());
    Model::new(Description {
        flags: DeviceFlags::PCI,
        regions,
        irqs: pci_irqs(0, 0, 0, false).into(),
        config,
        iommu: Iommu::intel(39),
        ..Default::default()
    })
    .with_registers(memory)
}
