//! The kernel's sample `mtty`, which migrates.

use std::vec;

use vfio_core::wire::abi::{DeviceFlags, IrqFlags, MigrationFlags};
use vfio_core::wire::server::{Dialect, Irq};

use super::{Model, TRAPPED};
use crate::sim::{Bar, Config, Description, Iommu, IommuCap, Mtty, Region};

/// Bytes of a port's registers.
const PORT: u64 = 8;

/// A mediated device of the kernel's sample `mtty` with `ports` serial ports, one or two: it
/// migrates, pre-copy included, and keeps a log of the DMA that it never does.
#[must_use]
pub fn mtty(ports: u32) -> Model {
    let io = Bar::Io { size: 8 };
    let mut config = Config::pci(0x4348, 0x3253, 0x07_0002, 0x10)
        .with_bar(0, io)
        .with_interrupt_pin(1);
    if ports > 1 {
        config = config.with_bar(1, io);
    }
    let regions = (0..9)
        .map(|index| {
            let size = match index {
                7 => 0xff,
                0..=1 if index < ports => PORT,
                _ => 0,
            };
            Some(Region::new(index, TRAPPED, size))
        })
        .collect();
    let irq = |flags| Some(Irq { flags, count: 1 });
    let intx = IrqFlags::EVENTFD | IrqFlags::MASKABLE | IrqFlags::AUTOMASKED;
    let message = IrqFlags::EVENTFD | IrqFlags::NORESIZE;
    // No IOMMU is behind it: the container pins what a driver asks for.
    let iommu = Iommu {
        pgsizes: !0xfff,
        caps: vec![
            IommuCap::Migration {
                pgsize_bitmap: 1 << 12,
                max_dirty_bitmap_size: 1 << 28,
            },
            IommuCap::DmaAvail { avail: 0xffff },
        ],
        ..Iommu::default()
    };
    Model::new(Description {
        flags: DeviceFlags::PCI | DeviceFlags::RESET,
        regions,
        irqs: vec![irq(intx), irq(message), None, None, None],
        config,
        iommu,
        dialect: Dialect::MDEV,
        migration: MigrationFlags::STOP_COPY | MigrationFlags::P2P | MigrationFlags::PRE_COPY,
        logs_dma: true,
        ..Default::default()
    })
    .with_registers(Mtty::new(usize::try_from(ports).unwrap_or(1)))
}
