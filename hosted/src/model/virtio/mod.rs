//! Virtio devices on PCI (Virtual I/O Device Specification 1.2), as QEMU lays them out.
//!
//! [`VirtioNet`] and [`VirtioBlk`] are what the driver meets; [`VirtioNetControl`] and
//! [`VirtioBlkControl`] are what a test holds on to. It sees frames and what is on the disk, and
//! makes a device lie in everything that it writes.

mod blk;
mod control;
mod device;
mod net;
mod queue;

pub use blk::{VirtioBlk, VirtioBlkControl};
pub use control::{VirtioControl, VirtioCounts, VirtioFault};
pub use net::{VirtioNet, VirtioNetControl};

use vfio_core::wire::abi::DeviceFlags;

use super::pci::{MAPPED, pci_irqs, pci_regions};
use super::{Bar, Config, Description, HotReset, Model, MsixTable, RegionCap, RegionDescription};
use device::{Device, Options, VECTORS, place};

/// Bytes of BAR 1, which has the MSI-X table.
const MSIX_BAR: u32 = 0x1000;
/// Bytes of BAR 4, which has the structures.
const BAR: u64 = 0x4000;

/// What is told of the devices of a type: its number, and its class.
struct About {
    device_type: u16,
    class: u32,
    /// A structure that is said to be somewhere else.
    placed: Option<(u8, Place)>,
}

/// Where a structure is said to be.
#[derive(Clone, Copy, Debug)]
struct Place {
    bar: u8,
    offset: u32,
    len: u32,
}

/// Returns QEMU's `virtio-net-pci,disable-legacy=on,iommu_platform=on` with [`VirtioNet`] behind
/// it, which loops back what is sent.
#[must_use]
pub fn virtio_net() -> Model {
    virtio_net_with(VirtioNet::new())
}

/// Works as [`virtio_net`], with another card.
#[must_use]
pub fn virtio_net_with(net: VirtioNet) -> Model {
    let about = About {
        device_type: 1,
        class: 0x02_0000,
        placed: net.placed,
    };
    let options = Options {
        without: net.without,
        entries: net.entries,
    };
    let control = net.control.virtio().clone();
    model(&about, Device::new(net, control, options))
}

/// Returns QEMU's `virtio-blk-pci,disable-legacy=on,iommu_platform=on` with [`VirtioBlk`] behind
/// it: a disk of 1 MiB.
#[must_use]
pub fn virtio_blk() -> Model {
    virtio_blk_with(VirtioBlk::new(2048))
}

/// Works as [`virtio_blk`], with another disk.
#[must_use]
pub fn virtio_blk_with(blk: VirtioBlk) -> Model {
    let about = About {
        device_type: 2,
        class: 0x01_0000,
        placed: None,
    };
    let options = Options {
        without: blk.without,
        entries: blk.entries,
    };
    let control = blk.control.virtio().clone();
    model(&about, Device::new(blk, control, options))
}

fn model(about: &About, device: Device) -> Model {
    let config = config(about);
    let bar1 = RegionDescription::new(1, MAPPED, MSIX_BAR.into()).with_cap(RegionCap::MsixMappable);
    let bar4 = RegionDescription::new(4, MAPPED, BAR);
    Model::new(Description {
        flags: DeviceFlags::PCI | DeviceFlags::RESET,
        regions: pci_regions(&config, [(1, bar1), (4, bar4)]),
        irqs: pci_irqs(1, 0, VECTORS.into(), true).into(),
        hot_reset: HotReset::Itself,
        config,
        msix_table: Some(MsixTable {
            region: 1,
            offset: 0,
            size: u64::from(VECTORS) * 16,
        }),
        ..Default::default()
    })
    .with_registers(device)
}

/// Returns the configuration space, with the capabilities that say where the structures are.
fn config(about: &About) -> Config {
    let [last, _] = VECTORS.wrapping_sub(1).to_le_bytes();
    let structure = |cfg_type, offset| about.structure(cfg_type, offset);
    Config::pcie(0x1af4, 0x1040 + about.device_type, about.class, 1)
        .with_bar(1, Bar::Memory32 { size: MSIX_BAR })
        .with_bar(4, Bar::Memory64 { size: BAR })
        .with_interrupt_pin(1)
        .with_capability(0x40, 0x09, &structure(COMMON_CFG, place::COMMON))
        .with_capability(0x50, 0x09, &structure(ISR_CFG, place::ISR))
        .with_capability(0x60, 0x09, &structure(DEVICE_CFG, place::DEVICE))
        .with_capability(0x70, 0x09, &structure(NOTIFY_CFG, place::NOTIFY))
        // The window through configuration space, which nobody uses here.
        .with_capability(0x84, 0x09, &structure(PCI_CFG, 0))
        // MSI-X: the table at 0 and the pending bits at 0x800 of BAR 1.
        .with_capability(0x98, 0x11, &[last, 0, 1, 0, 0, 0, 1, 8, 0, 0])
        .with_capability(0xa4, 0x10, &[0x02, 0, 0, 0, 0, 0x10])
}

const COMMON_CFG: u8 = 1;
const NOTIFY_CFG: u8 = 2;
const ISR_CFG: u8 = 3;
const DEVICE_CFG: u8 = 4;
const PCI_CFG: u8 = 5;

impl About {
    /// Returns what follows the id and the link of a capability (section 4.1.4).
    fn structure(&self, cfg_type: u8, offset: u64) -> std::vec::Vec<u8> {
        let number = |value: u64| u32::try_from(value).unwrap_or(0);
        let len = if cfg_type == PCI_CFG { 0 } else { place::LEN };
        let place = match self.placed {
            Some((other, place)) if other == cfg_type => place,
            _ => Place {
                bar: 4,
                offset: number(offset),
                len: number(len),
            },
        };
        let more = match cfg_type {
            NOTIFY_CFG => Some(place::MULTIPLIER),
            PCI_CFG => Some(0),
            _ => None,
        };
        let cap_len = if more.is_some() { 20 } else { 16 };
        let mut body = std::vec![cap_len, cfg_type, place.bar, 0, 0, 0];
        body.extend(place.offset.to_le_bytes());
        body.extend(place.len.to_le_bytes());
        body.extend(more.into_iter().flat_map(u32::to_le_bytes));
        body
    }
}
