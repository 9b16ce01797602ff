//! Memory that is mapped and unmapped (`vfio_dma_mapping_test`).
//!
//! That no address is found any more for what was unmapped needs no check: a buffer that is
//! unmapped is gone, by its type.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use vfio_core::dma::{BufferOptions, Direction, Dma};
use vfio_core::sys::{Errno, Pages, Sys as _};
use vfio_guest::Device;
use vfio_hosted::linux::Linux;

use super::{PAGE, ranges};
use crate::mode::{InGuest as _, Mode};
use crate::report::NotRun;
use crate::world::{World, version};

const HUGE: u64 = 2 << 20;
const GIGANTIC: u64 = 1 << 30;

/// Maps one page.
pub(crate) fn small(_: &World, device: &Device, mode: Mode) -> Result<String> {
    map_unmap(device, mode, PAGE)
}

/// Maps a huge page of 2 MiB.
pub(crate) fn huge(_: &World, device: &Device, mode: Mode) -> Result<String> {
    map_unmap(device, mode, HUGE)
}

/// Maps a huge page of 1 GiB.
pub(crate) fn gigantic(_: &World, device: &Device, mode: Mode) -> Result<String> {
    map_unmap(device, mode, GIGANTIC)
}

/// Checks that the IOMMU's page table is to be seen, so that the other checks look for what they
/// map in it.
pub(crate) fn page_table(_: &World, device: &Device, mode: Mode) -> Result<String> {
    let (_space, _opened) = mode.open(device)?;
    if mode.splits() {
        let reason = "the first version of type 1 may map smaller pages than it is given";
        return Err(NotRun(reason.into()).into());
    }
    match PageTable::of(device, mode) {
        Some(PageTable(path)) => Ok(path),
        None => Err(NotRun("this kernel does not show the IOMMU's page table".into()).into()),
    }
}

/// Maps one page of `size` bytes, looks for it where the IOMMU does, and unmaps it.
fn map_unmap(device: &Device, mode: Mode, size: u64) -> Result<String> {
    let (space, _opened) = mode.open(device)?;
    let before = free_pages(size)?;
    if before == Some(0) {
        return Err(NotRun(format!("the guest has no page of {size} bytes left")).into());
    }
    let dma = Dma::<_, 64>::new(Linux, space)?;
    let len = usize::try_from(size)?;
    // Nobody takes huge pages that did not ask for them.
    if size != PAGE {
        let ordinary = Linux.memory(len, Pages::Ordinary)?;
        ensure!(free_pages(size)? == before, "a huge page was taken");
        drop(ordinary);
    }
    // It takes seconds to pin 1 GiB of others: for one device, in a mode of each kind.
    let is_tried = device.name == "edu" && matches!(mode, Mode::Type1v2 | Mode::Iommufd);
    if size == HUGE || (size == GIGANTIC && is_tried) {
        drop(dma.buffer(len, Direction::Both)?);
        ensure!(free_pages(size)? == before, "a huge page was taken");
    }
    let buffer = match size {
        PAGE => dma.buffer(len, Direction::Both),
        _ => dma.buffer(len, BufferOptions::new(Direction::Both).huge(len)),
    }?;
    let iova = buffer.iova();
    ensure!(iova.is_multiple_of(size), "mapped at {iova:#x}");
    ensure!(u64::try_from(buffer.len())? == size, "{}", buffer.len());
    let taken = before.map(|before| before - 1);
    ensure!(free_pages(size)? == taken, "memory of other pages");
    let table = PageTable::of(device, mode);
    if let Some(table) = &table {
        let entries = table.entries(iova)?.context("the IOMMU has no entry")?;
        let level = match size {
            PAGE => 4,
            HUGE => 3,
            _ => 2,
        };
        let (upper, lower) = entries.split_at(level + 1);
        ensure!(
            upper.last() != Some(&0) && lower.iter().all(|entry| *entry == 0),
            "entries {entries:x?}"
        );
    }
    // The library compares how many bytes were unmapped.
    buffer.unmap()?;
    if let Some(table) = &table {
        let entries = table.entries(iova)?;
        ensure!(entries.is_none(), "still mapped by {entries:x?}");
    }
    let again = dma.space().unmap(iova, size);
    ensure!(
        matches!(again, Ok(0) | Err(Errno::ENOENT)),
        "unmapped again: {again:?}"
    );
    ensure!(
        free_pages(size)? == before,
        "a huge page was not given back"
    );
    Ok(match table {
        Some(_) => "in the IOMMU's table".into(),
        None => "the IOMMU's table is not to be seen".into(),
    })
}

/// Returns how many huge pages of `size` bytes there are that nobody has. `None` where pages of
/// that size are not huge.
fn free_pages(size: u64) -> Result<Option<u64>> {
    if size == PAGE {
        return Ok(None);
    }
    let directory = format!("/sys/kernel/mm/hugepages/hugepages-{}kB", size >> 10);
    if !Path::new(&directory).exists() {
        return Ok(Some(0));
    }
    let number = |name: &str| -> Result<u64> {
        let path = format!("{directory}/{name}");
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        text.trim().parse().context(path)
    };
    Ok(Some(number("free_hugepages")? - number("resv_hugepages")?))
}

/// A device's page table, as VT-d's driver shows it in debugfs.
struct PageTable(String);

impl PageTable {
    /// Finds the table. `None` where it is not shown. The first version of type 1 is left out: with
    /// iommufd it maps small pages only, so that part of a mapping can be unmapped.
    fn of(device: &Device, mode: Mode) -> Option<Self> {
        let address = device.address();
        let path = format!("/sys/kernel/debug/iommu/intel/{address}/domain_translation_struct");
        (!mode.splits() && Path::new(&path).exists()).then_some(Self(path))
    }

    /// Returns the entries that lead to the page at `iova`, from the highest level of five down, 0
    /// where there is none. `None` where it is not mapped.
    fn entries(&self, iova: u64) -> Result<Option<[u64; 5]>> {
        let text = fs::read_to_string(&self.0).with_context(|| self.0.clone())?;
        for line in text.lines() {
            let mut numbers = line.split_whitespace().filter_map(|word| {
                let digits = word.strip_prefix("0x")?;
                u64::from_str_radix(digits, 16).ok()
            });
            if !line.starts_with("0x") || numbers.next() != Some(iova / PAGE) {
                continue;
            }
            let mut entries = [0; 5];
            entries
                .iter_mut()
                .zip(numbers)
                .for_each(|(entry, number)| *entry = number);
            return Ok(Some(entries));
        }
        Ok(None)
    }
}

/// Checks that the last page that there is can be mapped and unmapped.
pub(crate) fn unmap_range(_: &World, device: &Device, mode: Mode) -> Result<String> {
    last_page(device, mode, |space, iova| space.unmap(iova, PAGE))
}

/// Checks the last page as well, by unmapping all.
pub(crate) fn unmap_all(_: &World, device: &Device, mode: Mode) -> Result<String> {
    last_page(device, mode, |space, _| space.unmap_all())
}

type Space = vfio_core::open::AddressSpace<Linux>;

fn last_page(
    device: &Device,
    mode: Mode,
    unmap: impl FnOnce(&Space, u64) -> Result<u64, Errno>,
) -> Result<String> {
    let memory = Linux.memory(usize::try_from(PAGE)?, Pages::Ordinary)?;
    let (space, _opened) = mode.open(device)?;
    let (_, last) = *ranges(&space)?.last().context("no range")?;
    let iova = last & !(PAGE - 1);
    let whole = 0..usize::try_from(PAGE)?;
    // SAFETY: the memory was there before the address space and the device, and outlives both.
    let mapped = unsafe { space.map(&memory, whole, iova, Direction::Both) };
    mapped.with_context(|| format!("map at {iova:#x}"))?;
    let unmapped = unmap(&space, iova)?;
    ensure!(unmapped == PAGE, "{unmapped} bytes");
    Ok(format!("at {iova:#x}"))
}

/// Checks that what would end past the last address is neither mapped nor unmapped.
pub(crate) fn overflow(_: &World, device: &Device, mode: Mode) -> Result<String> {
    let memory = Linux.memory(usize::try_from(2 * PAGE)?, Pages::Ordinary)?;
    let (space, _opened) = mode.open(device)?;
    let iova = u64::MAX - (PAGE - 1);
    let whole = 0..usize::try_from(2 * PAGE)?;
    // SAFETY: the memory was there before the address space and the device, and outlives both.
    let mapped = unsafe { space.map(&memory, whole, iova, Direction::Both) };
    let unmapped = space.unmap(iova, 2 * PAGE);
    // Type 1 of before Linux 7.0 had another number for it.
    let expected = if version()? < (7, 0) && !mode.is_iommufd() {
        Errno::EINVAL
    } else {
        Errno::EOVERFLOW
    };
    match (mapped, unmapped) {
        (Err(one), Err(two)) if one == expected && two == expected => Ok(expected.to_string()),
        other => bail!("{other:?}"),
    }
}
