//! Does what VFIO says of a device agree with what the PCI core says of it?

use std::fs;

use anyhow::{Context as _, Result, anyhow, ensure};
use vfio_conformance::everything::Everything;
use vfio_core::device::irq::IrqError;
use vfio_core::open::container::Container;
use vfio_core::open::{Mode, Session};
use vfio_core::query::QueryError;
use vfio_core::sys::Errno;
use vfio_core::wire::abi::{DeviceFlags, IrqFlags, RegionFlags, pci_irq, pci_region};
use vfio_guest::Device;
use vfio_hosted::linux::Linux;

use crate::world::{World, group, place};

/// `IORESOURCE_MEM` (linux/ioport.h).
const MEMORY: u64 = 0x200;
/// The size of the guest's pages, in bytes.
const PAGE: u64 = 4096;

/// Returns an opened device, through the types that a driver uses.
pub(super) fn open(
    device: &Device,
) -> Result<(Container<Linux>, vfio_core::device::Device<Linux>)> {
    let container = Container::open(Linux)?;
    let group = container.attach(group(device)?)?;
    container.set_iommu(vfio_core::wire::abi::Extension::TYPE1V2_IOMMU)?;
    let name = std::ffi::CString::new(device.address())?;
    let opened = group.device(&name)?;
    Ok((container, opened))
}

/// Regions against the BARs and the configuration space in sysfs.
pub(crate) fn regions(_: &World, device: &Device) -> Result<String> {
    let (_container, opened) = open(device)?;
    let mut buffer = [0; 512];
    let resources = read(device, "resource")?;
    let mut mapped = 0;
    for (index, line) in (pci_region::BAR0..=pci_region::ROM).zip(resources.lines()) {
        let numbers: Vec<u64> = line
            .split_whitespace()
            .map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16))
            .collect::<Result<_, _>>()?;
        let &[start, end, flags] = numbers.as_slice() else {
            anyhow::bail!("{line:?} is no resource");
        };
        let size = if end == 0 { 0 } else { end - start + 1 };
        let region = opened.region(index, &mut buffer)?;
        ensure!(
            region.index == index,
            "region {index} is answered as {}",
            region.index
        );
        if index == pci_region::ROM {
            // A ROM that the device does not have is offered as a shadow on some kernels.
            ensure!(
                region.size == size || size == 0,
                "ROM of {} bytes, not {size}",
                region.size
            );
            continue;
        }
        ensure!(
            region.size == size,
            "BAR {index} of {} bytes, not {size}",
            region.size
        );
        let both = RegionFlags::READ | RegionFlags::WRITE;
        ensure!(
            size == 0 || region.flags.contains(both),
            "BAR {index}: {}",
            region.flags
        );
        let maps = region.flags.contains(RegionFlags::MMAP);
        let is_memory = flags & MEMORY != 0;
        ensure!(
            !maps || is_memory,
            "BAR {index} of I/O ports is to be mapped"
        );
        ensure!(
            maps || !is_memory || size < PAGE,
            "BAR {index} of memory is not to be mapped"
        );
        mapped += u32::from(maps);
    }
    let config = opened.region(pci_region::CONFIG, &mut buffer)?;
    let len = config_space(device)?.len();
    ensure!(
        config.size == u64::try_from(len)?,
        "config space of {} bytes, not {len}",
        config.size
    );
    ensure!(
        !config.flags.contains(RegionFlags::MMAP),
        "config space is to be mapped"
    );
    let mut ids = [0; 4];
    let offset = config.offset;
    ensure!(
        opened.read(offset, 0, &mut ids)? == 4,
        "config space was read short"
    );
    ensure!(
        ids == config_space(device)?[..4],
        "other ids in the config space: {ids:02x?}"
    );
    let past = opened.region(64, &mut buffer);
    ensure!(
        past == Err(QueryError::Errno(Errno::EINVAL)),
        "region 64: {past:?}"
    );
    Ok(format!("{mapped} BARs can be mapped"))
}

/// Interrupts against the capabilities in the configuration space.
pub(crate) fn interrupts(_: &World, device: &Device) -> Result<String> {
    let (_container, opened) = open(device)?;
    let config = config_space(device)?;
    let byte = |at: usize| config.get(at).copied().map(usize::from);
    let half = |at: usize| Some(byte(at)? | byte(at + 1)? << 8);
    let (mut msi, mut msix) = (0, 0);
    let mut at = byte(0x34).context("no capabilities pointer")?;
    for _ in 0..48 {
        match byte(at) {
            _ if at == 0 => break,
            Some(0x05) => msi = 1 << (half(at + 2).context("MSI")? >> 1 & 7),
            Some(0x11) => msix = (half(at + 2).context("MSI-X")? & 0x7ff) + 1,
            _ => (),
        }
        at = byte(at + 1).context("a capability past the end")?;
    }
    let pin = usize::from(byte(0x3d).unwrap_or(0) != 0);
    let expected = [
        (pci_irq::INTX, pin),
        (pci_irq::MSI, msi),
        (pci_irq::MSIX, msix),
    ];
    for (index, count) in expected {
        let irq = opened.irq(index)?;
        ensure!(
            irq.count == u32::try_from(count)?,
            "index {index}: {}, not {count}",
            irq.count
        );
        ensure!(
            irq.flags.contains(IrqFlags::EVENTFD),
            "index {index}: {}",
            irq.flags
        );
        let masks = irq
            .flags
            .contains(IrqFlags::MASKABLE | IrqFlags::AUTOMASKED);
        ensure!(
            masks == (index == pci_irq::INTX),
            "index {index}: {}",
            irq.flags
        );
    }
    ensure!(
        opened.irq(pci_irq::REQ)?.count == 1,
        "no interrupt asks for the device back"
    );
    let past = opened.irq(64);
    ensure!(
        past == Err(QueryError::Errno(Errno::EINVAL)),
        "index 64: {past:?}"
    );
    Ok(format!("INTx {pin}, MSI {msi}, MSI-X {msix}"))
}

/// Checks that Linux has one vector for MSI where nothing remaps interrupts, and says so by a number
/// that is no error. Otherwise it has all of them.
pub(crate) fn several_messages(_: &World, device: &Device) -> Result<String> {
    let session = Session::open(&Linux, &place(device)?.as_place())?;
    let opened = &session.device;
    let count = opened.irq(pci_irq::MSI)?.count;
    ensure!(count == 16, "MSI {count}");
    let all = opened.vectors::<16>(pci_irq::MSI).map(drop);
    let (expected, seen) = match session.mode {
        Mode::NoIommu => (Err(IrqError::Only { available: 1 }), "one of 16"),
        _ => (Ok(()), "16 of 16"),
    };
    ensure!(all == expected, "16 in mode {}: {all:?}", session.mode);
    // None was enabled, so that one can be.
    drop(opened.vectors::<1>(pci_irq::MSI).context("one alone")?);
    Ok(seen.into())
}

/// Checks the device itself, its IOMMU, and what a hot reset takes along.
pub(crate) fn device(_: &World, device: &Device) -> Result<String> {
    let (container, opened) = open(device)?;
    let mut buffer = [0; 512];
    let info = opened.info(&mut buffer)?;
    ensure!(
        info.flags.contains(DeviceFlags::PCI),
        "flags {}",
        info.flags
    );
    let indexes = (info.num_regions, info.num_irqs);
    ensure!(
        indexes == (pci_region::NUM, pci_irq::NUM),
        "{indexes:?} indexes"
    );
    Everything::ask(&opened).map_err(|error| anyhow!("{error}"))?;

    let iommu = container.iommu_info(&mut buffer)?;
    ensure!(
        iommu.iova_pgsizes & PAGE != 0,
        "page sizes {:#x}",
        iommu.iova_pgsizes
    );
    let ranges: Vec<_> = iommu
        .iova_ranges()
        .context("no IOVA ranges")?
        .into_iter()
        .collect();
    ensure!(!ranges.is_empty(), "no IOVA range");
    let ascend = ranges.windows(2).all(|pair| pair[0].end < pair[1].start);
    ensure!(ascend, "ranges {ranges:x?}");
    // The window of message-signalled interrupts on x86 is no memory.
    let msi = 0xfee0_0000;
    let is_free = ranges
        .iter()
        .all(|range| msi < range.start || range.end < msi);
    ensure!(is_free, "ranges {ranges:x?}");
    ensure!(
        iommu.dma_avail().is_some_and(|avail| avail > 0),
        "no mapping is left"
    );

    let on_root_bus = device.address().starts_with("0000:00:");
    match opened.hot_reset_info(&mut buffer) {
        Err(QueryError::Errno(Errno::ENODEV)) if on_root_bus => Ok("on the root bus".into()),
        Ok(set) if !on_root_bus => {
            let group = group(device)?;
            let own = set.devices.iter().find(|other| {
                let (slot, function) = (other.devfn >> 3, other.devfn & 7);
                let name = format!(
                    "{:04x}:{:02x}:{slot:02x}.{function}",
                    other.segment, other.bus
                );
                name == device.address() && other.group_id == group
            });
            ensure!(own.is_some(), "not in its own reset set: {set:?}");
            Ok(format!("reset with {} devices", set.devices.len()))
        }
        other => anyhow::bail!("hot reset: {other:?}"),
    }
}

fn config_space(device: &Device) -> Result<Vec<u8>> {
    let path = format!("{}/config", device.sysfs());
    fs::read(&path).with_context(|| format!("cannot read {path}"))
}

fn read(device: &Device, name: &str) -> Result<String> {
    let path = format!("{}/{name}", device.sysfs());
    fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
}
