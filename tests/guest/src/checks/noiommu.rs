//! What holds where no IOMMU confines a device.

use anyhow::{Result, anyhow, ensure};
use serde_json::Value;
use vfio_core::dma::{AddressSpace, Direction, Dma};
use vfio_core::mmio::Access as _;
use vfio_core::query::QueryError;
use vfio_core::session::{Mode, Session};
use vfio_core::sys::{Errno, Sys as _};
use vfio_guest::Device;
use vfio_hosted::linux::Linux;

use super::command;
use crate::world::{World, place};

/// A container without an IOMMU maps and tells nothing.
pub(crate) fn nothing_is_mapped(_: &World, device: &Device) -> Result<String> {
    let session = Session::open_in(Mode::NoIommu, &Linux, &place(device)?.as_place())?;
    let AddressSpace::NoIommu(container) = &session.space else {
        return Err(anyhow!("{:?}", session.space));
    };
    let info = container.iommu_info(&mut [0; 64]).map(drop);
    ensure!(
        info == Err(QueryError::Errno(Errno::ENOTTY)),
        "IOMMU info: {info:?}"
    );
    let memory = Linux.memory(4096)?;
    let mapped = session.space.map(&memory, 0..4096, 0, Direction::Both);
    ensure!(mapped == Err(Errno::ENOTTY), "mapped: {mapped:?}");
    let unmapped = session.space.unmap_all();
    ensure!(unmapped == Err(Errno::ENOTTY), "unmapped: {unmapped:?}");
    for mode in [Mode::Type1v2, Mode::Type1] {
        let refused = Session::open_in(mode, &Linux, &place(device)?.as_place());
        ensure!(refused.is_err(), "{mode} is there as well");
    }
    Ok("ENOTTY".into())
}

/// Memory for DMA is contiguous, on pages of its own, and as low as it must be.
pub(crate) fn memory(_: &World, device: &Device) -> Result<String> {
    let session = Session::open(&Linux, &place(device)?.as_place())?;
    let dma = Dma::<_, 1>::new(Linux, session.space)?;
    let mut seen = Vec::new();
    for len in [1, 4096, 3 * 4096, 64 << 10, 2 << 20] {
        let (memory, address) = Linux.physical_memory(len, u64::MAX)?;
        let buffer = dma.buffer(len, Direction::Both)?;
        let (here, end) = (buffer.iova(), buffer.iova() + u64::try_from(buffer.len())?);
        ensure!(address % 4096 == 0 && here % 4096 == 0, "{address:#x}");
        ensure!(
            end <= address || address + u64::try_from(memory.len())? <= here,
            "{address:#x} and {here:#x} overlap"
        );
        seen.push(format!("{len:#x} at {here:#x}"));
    }
    let low = Linux.physical_memory(4096, 0xfff).err();
    ensure!(low == Some(Errno::ERANGE), "below 4 KiB: {low:?}");
    Ok(seen.join(", "))
}

/// The program opens the device in the one mode that there is, and says so.
pub(crate) fn inspect(_: &World, device: &Device) -> Result<String> {
    let text = command::good(&["inspect", "--json", device.address()])?;
    let record: Value = serde_json::from_str(&text)?;
    ensure!(record["mode"] == "noiommu", "{}", record["mode"]);
    ensure!(
        record["troubles"].as_array().is_some_and(Vec::is_empty),
        "{}",
        record["troubles"]
    );
    Ok("noiommu".into())
}
