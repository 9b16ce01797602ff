//! What holds where no IOMMU confines a device.

use core::mem::ManuallyDrop;
use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;
use vfio_core::dma::{Direction, Dma, DmaError};
use vfio_core::mmio::Access as _;
use vfio_core::open::AddressSpace;
use vfio_core::open::{Mode, Session, SessionError};
use vfio_core::query::QueryError;
use vfio_core::sys::{Errno, Pages, Sys as _, ValueRequest};
use vfio_core::wire::abi::Extension;
use vfio_guest::Device;
use vfio_hosted::OwnedPlace;
use vfio_hosted::linux::{Fd, Linux};

use super::command;
use crate::program;
use crate::world::{World, place};

/// Checks that a container without an IOMMU maps and tells nothing.
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
    let memory = ManuallyDrop::new(Linux.memory(4096, Pages::Ordinary)?);
    // SAFETY: memory that is mapped all the same is never freed.
    let mapped = unsafe { session.space.map(&memory, 0..4096, 0, Direction::Both) };
    ensure!(mapped == Err(Errno::ENOTTY), "mapped: {mapped:?}");
    drop(ManuallyDrop::into_inner(memory));
    let unmapped = session.space.unmap_all();
    ensure!(unmapped == Err(Errno::ENOTTY), "unmapped: {unmapped:?}");
    for mode in [Mode::Type1v2, Mode::Type1] {
        let refused = Session::open_in(mode, &Linux, &place(device)?.as_place());
        ensure!(refused.is_err(), "{mode} is there as well");
    }
    Ok("ENOTTY".into())
}

/// Checks that without the word the device is not opened: not by a session, nor by its files.
pub(crate) fn unacknowledged(_: &World, device: &Device) -> Result<String> {
    let place = OwnedPlace {
        noiommu: None,
        ..place(device)?
    };
    for opened in [
        Session::open(&Linux, &place.as_place()),
        Session::open_in(Mode::NoIommu, &Linux, &place.as_place()),
    ] {
        let refused = opened.err();
        ensure!(refused == Some(SessionError::NoIommu), "{refused:?}");
    }
    let group = place.group.context("the device has no group")?;
    let path = format!("/dev/vfio/noiommu-{group}");
    let refused = Linux.open(&CString::new(path.as_str())?).err();
    ensure!(refused == Some(Errno::EPERM), "{path}: {refused:?}");

    // Nor where the file came another way, or has another name.
    let alias = format!("/run/{group}");
    let _ = fs::remove_file(&alias);
    symlink(&path, &alias)?;
    let none = Extension::NOIOMMU_IOMMU.0;
    let mut refusals = 0;
    for container in ["/dev/vfio/vfio", "/dev/iommu"] {
        if !Path::new(container).exists() {
            continue;
        }
        let container = Linux.open(&CString::new(container)?)?;
        let refused = Linux.open(&CString::new(alias.as_str())?).err();
        ensure!(refused == Some(Errno::EPERM), "{alias}: {refused:?}");
        let file: OwnedFd = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)?
            .into();
        let refused = Fd::try_from(file).err();
        ensure!(refused == Some(Errno::EPERM), "{path}: {refused:?}");
        let set = Linux.ioctl_value(&container, ValueRequest::SetIommu, none);
        ensure!(set == Err(Errno::EPERM), "no IOMMU: {set:?}");
        refusals += 1;
    }
    fs::remove_file(&alias)?;
    Ok(format!("refused with {refusals} kinds of containers"))
}

/// Checks that memory for DMA is contiguous, on pages of its own, and as low as it must be.
pub(crate) fn memory(_: &World, device: &Device) -> Result<String> {
    let session = Session::open(&Linux, &place(device)?.as_place())?;
    let dma = Dma::<_, 1>::new(Linux, session.space)?;
    let mut seen = Vec::new();
    for len in [1, 4096, 3 * 4096, 64 << 10, 2 << 20] {
        let free = free_pages()?;
        let (memory, address) = Linux.physical_memory(len, u64::MAX)?;
        let buffer = dma.buffer(len, Direction::Both)?;
        ensure!(free_pages()? == free - 2, "not of huge pages of their own");
        let (here, end) = (buffer.iova(), buffer.iova() + u64::try_from(buffer.len())?);
        ensure!(address % 4096 == 0 && here % 4096 == 0, "{address:#x}");
        ensure!(
            end <= address || address + u64::try_from(memory.len())? <= here,
            "{address:#x} and {here:#x} overlap"
        );
        seen.push(format!("{len:#x} at {here:#x}"));
        drop((memory, buffer));
        ensure!(free_pages()? == free, "huge pages were not given back");
    }
    // One that is longer than a huge page, where two lie together.
    let long = Linux.physical_memory((2 << 20) + 1, u64::MAX);
    ensure!(
        matches!(long, Ok(_) | Err(Errno::ENOMEM)),
        "{:?}",
        long.err()
    );
    drop(long);
    // Once none is left there is none, whatever else is free.
    let mut all = Vec::new();
    let refused = loop {
        match dma.buffer(4096, Direction::Both) {
            Ok(buffer) => all.push(buffer),
            Err(error) => break error,
        }
    };
    ensure!(
        refused == DmaError::Physical(Errno::ENOMEM),
        "without huge pages: {refused}"
    );
    ensure!(free_pages()? == 0, "{} are left", free_pages()?);
    drop(all);
    let low = Linux.physical_memory(4096, 0xfff).err();
    ensure!(low == Some(Errno::ERANGE), "below 4 KiB: {low:?}");
    Ok(seen.join(", "))
}

/// Returns how many huge pages of 2 MiB nobody has.
fn free_pages() -> Result<u64> {
    let path = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
    Ok(fs::read_to_string(path)?.trim().parse()?)
}

/// Checks that the program opens the device in its one mode where the user asks for it, and says
/// so. Otherwise it does not.
pub(crate) fn inspect(_: &World, device: &Device) -> Result<String> {
    let refused = program::run("/bin/vfio", &["inspect", device.address()])?;
    ensure!(
        refused.status == Some(1) && refused.stderr.contains("--mode noiommu"),
        "without the word: {}",
        command::told(&refused)
    );
    let arguments = ["inspect", "--json", "--mode", "noiommu", device.address()];
    let text = command::good(&arguments)?;
    let record: Value = serde_json::from_str(&text)?;
    ensure!(record["mode"] == "noiommu", "{}", record["mode"]);
    ensure!(
        record["troubles"].as_array().is_some_and(Vec::is_empty),
        "{}",
        record["troubles"]
    );
    Ok("noiommu".into())
}
