//! A device whose regions may be mapped in parts only.

use vfio_core::wire::abi::{DeviceFlags, IrqFlags, RegionFlags, RegionSparseMmapArea};
use vfio_core::wire::server::IrqReply;

use super::pci::{MAPPED, pci_regions};
use super::{Bar, Config, Description, Model, RegionCap, RegionDescription};

const PAGE: u64 = 4096;

/// Returns a device of libvfio-user: BAR 0 may be mapped in one area that is all of it, and BAR 2
/// in nine areas of a page each, which begin at the second page.
///
/// Flags, sizes, areas and interrupts are those of the server; the regions lie where vfio-pci puts
/// them, since a vfio-user client does not address them by offset.
#[must_use]
pub fn sparse() -> Model {
    let config = Config::pci(0x1234, 0x5678, 0xff_0000, 0)
        .with_bar(0, Bar::Memory32 { size: 16 << 10 })
        .with_bar(2, Bar::Memory32 { size: 64 << 10 });
    let whole = RegionSparseMmapArea {
        offset: 0,
        size: 16 << 10,
    };
    let nine = (1..=9).map(|page| RegionSparseMmapArea {
        offset: page * PAGE,
        size: PAGE,
    });
    let regions = [
        (
            0,
            RegionDescription::new(0, MAPPED, 16 << 10)
                .with_cap(RegionCap::SparseMmap([whole].into())),
        ),
        (
            2,
            RegionDescription::new(2, MAPPED, 64 << 10)
                .with_cap(RegionCap::SparseMmap(nine.collect())),
        ),
        (8, RegionDescription::new(8, RegionFlags::empty(), 0)),
    ];
    let irqs = [0, 0, 0, 1, 1].map(|count| {
        Some(IrqReply {
            flags: IrqFlags::EVENTFD,
            count,
        })
    });
    Model::new(Description {
        flags: DeviceFlags::PCI | DeviceFlags::RESET,
        regions: pci_regions(&config, regions),
        irqs: irqs.into(),
        config,
        ..Default::default()
    })
}
