//! Page tables: every address is where it is in the machine, memory cached and devices not.
//!
//! The entry maps the first 2 MiB. All else is mapped when something asks for it, so that a stray
//! pointer ends in a page fault. Nothing is ever unmapped.

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use spin::Mutex;
use x86_64::registers::control::Cr3;

/// How many tables there are: 4 for the first 2 MiB, one for each 1 GiB that is mapped besides
/// where the processor has no pages of that size, and one for each 512 GiB. They take no room in
/// the file.
const TABLES_LEN: usize = 84;

/// Those that the entry fills.
const BOOT_TABLES: usize = 4;
/// How many a range of 1 GiB or more may take: one that is too large leaves the last to others.
const TABLES_MOST: usize = TABLES_LEN - 8;

/// An entry leads somewhere.
const PRESENT: u64 = 1 << 0;
/// What it leads to can be written.
const WRITABLE: u64 = 1 << 1;
/// Write-through and not cached: with the processor's first page attribute table, uncached.
const UNCACHED: u64 = 1 << 3 | 1 << 4;
/// It leads to a large page and not to a table.
const LARGE: u64 = 1 << 7;
/// What it leads to is not executed.
const NO_EXECUTE: u64 = 1 << 63;
/// Where an entry leads.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Bytes of a page of the lowest level.
pub const PAGE: u64 = 0x1000;
/// Bytes of a large page.
const LARGE_PAGE: u64 = 0x20_0000;
/// Bytes of a huge page, where the processor has them.
const HUGE_PAGE: u64 = 0x4000_0000;
/// Addresses below are mapped where they are; the others would need a sign.
const HALF: u64 = 1 << 47;

/// A page table.
#[repr(C, align(4096))]
pub(crate) struct Table([AtomicU64; 512]);

/// All page tables: those of the entry first, the top level before all.
#[unsafe(link_section = ".uninit.tables")]
pub(crate) static TABLES: [Table; TABLES_LEN] =
    [const { Table([const { AtomicU64::new(0) }; 512]) }; TABLES_LEN];

/// Which tables are in use.
static TAKEN: Mutex<Taken> = Mutex::new(Taken {
    used: BOOT_TABLES,
    most: TABLES_LEN,
});

struct Taken {
    /// How many, and how many may be.
    used: usize,
    most: usize,
}

/// What is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Kind {
    /// Memory, cached.
    Memory,
    /// Registers, not cached.
    Device,
}

/// Why addresses can't be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum MapError {
    /// They end past those of the processor.
    OutOfReach {
        /// The end.
        end: u64,
        /// The end of the processor's addresses.
        limit: u64,
    },
    /// There are page tables for what is before this address, but no more: without pages of 1 GiB
    /// there are some for 64 GiB and more in all.
    NoTable {
        /// The address.
        address: u64,
    },
    /// Memory and registers would be in one page.
    Mixed {
        /// Where the page is.
        address: u64,
    },
}

unsafe extern "C" {
    static __image_start: u8;
    static __data_start: u8;
    static __image_end: u8;
}

/// Returns where the image is, in bytes.
#[must_use]
pub fn image() -> Range<u64> {
    address_of(&raw const __image_start)..address_of(&raw const __image_end)
}

/// Maps `range` (bytes) where it is, in whole pages.
///
/// # Errors
/// [`MapError`]; what was mapped until then stays mapped.
pub fn map(range: Range<u64>, kind: Kind) -> Result<(), MapError> {
    let limit = limit();
    if range.end > limit {
        let end = range.end;
        return Err(MapError::OutOfReach { end, limit });
    }
    let huge = has_huge_pages();
    let mut taken = TAKEN.lock();
    let len = range.end.saturating_sub(range.start);
    taken.most = if len < HUGE_PAGE {
        TABLES_LEN
    } else {
        TABLES_MOST
    };
    // The first large page is mapped by the entry.
    let mut at = range.start.max(LARGE_PAGE) & !LARGE_PAGE.wrapping_sub(1);
    while at < range.end {
        let is_huge =
            huge && at.is_multiple_of(HUGE_PAGE) && range.end.wrapping_sub(at) >= HUGE_PAGE;
        let size = if is_huge { HUGE_PAGE } else { LARGE_PAGE };
        map_page(&mut taken, at, size, kind)?;
        // Below the limit nothing wraps.
        at = at.wrapping_add(size);
    }
    Ok(())
}

/// Returns the end of the addresses that can be mapped.
pub(crate) fn limit() -> u64 {
    HALF.min(1 << physical_bits())
}

/// Lets code, constants and the first page, where hypervisors leave what they tell, be written no
/// more; maps the rest of the image.
pub(crate) fn protect() -> Result<(), MapError> {
    let mut page = 0;
    while page < address_of(&raw const __data_start) {
        let entry = entry(page_table(), page, 12);
        entry.store(entry.load(Ordering::Relaxed) & !WRITABLE, Ordering::Relaxed);
        page = page.saturating_add(PAGE).max(image().start);
    }
    let (frame, flags) = Cr3::read();
    // SAFETY: the same tables; what changed is read anew.
    unsafe { Cr3::write(frame, flags) };
    map(image(), Kind::Memory)
}

/// Returns the table of the first 2 MiB.
fn page_table() -> &'static Table {
    let [_, _, _, table, ..] = &TABLES;
    table
}

/// Maps one large or huge page.
fn map_page(taken: &mut Taken, at: u64, size: u64, kind: Kind) -> Result<(), MapError> {
    let [top, ..] = &TABLES;
    let none = MapError::NoTable { address: at };
    let third = table_behind(taken, entry(top, at, 39)).ok_or(none)?;
    let slot = if size == HUGE_PAGE {
        entry(third, at, 30)
    } else {
        let slot = entry(third, at, 30);
        if slot.load(Ordering::Relaxed) & LARGE != 0 {
            return fits(slot, at, kind);
        }
        entry(table_behind(taken, slot).ok_or(none)?, at, 21)
    };
    if slot.load(Ordering::Relaxed) & PRESENT != 0 {
        return fits(slot, at, kind);
    }
    let cached = match kind {
        Kind::Memory => 0,
        Kind::Device => UNCACHED,
    };
    slot.store(
        at | cached | PRESENT | WRITABLE | LARGE | NO_EXECUTE,
        Ordering::Relaxed,
    );
    Ok(())
}

/// Tells whether what is mapped already is of this kind.
fn fits(slot: &AtomicU64, at: u64, kind: Kind) -> Result<(), MapError> {
    let flags = slot.load(Ordering::Relaxed);
    let is_device = flags & UNCACHED == UNCACHED;
    // A huge page that was asked for where smaller ones are is not of one kind.
    if flags & LARGE != 0 && is_device == (kind == Kind::Device) {
        Ok(())
    } else {
        Err(MapError::Mixed { address: at })
    }
}

/// Returns the entry for an address in a table whose entries tell addresses apart from bit `shift`
/// on.
fn entry(table: &'static Table, at: u64, shift: u32) -> &'static AtomicU64 {
    let index = usize::try_from((at >> shift) & 0x1ff).unwrap_or(0);
    let [first, ..] = &table.0;
    table.0.get(index).unwrap_or(first)
}

/// Returns the table that an entry leads to. A new one where it leads nowhere yet.
fn table_behind(taken: &mut Taken, slot: &AtomicU64) -> Option<&'static Table> {
    let entry = slot.load(Ordering::Relaxed);
    if entry & PRESENT != 0 {
        let base = TABLES.as_ptr();
        let offset = (entry & ADDRESS).checked_sub(address_of(base))?;
        return TABLES.get(usize::try_from(offset / PAGE).ok()?);
    }
    let table = TABLES.get(taken.used).filter(|_| taken.used < taken.most)?;
    taken.used = taken.used.saturating_add(1);
    // 8 bytes at a time, which the compiler does not do where it makes code small.
    // SAFETY: the table is in use by nobody yet, and atomics may be written through a shared
    // reference.
    unsafe {
        core::arch::asm!(
            "rep stosq",
            inout("rdi") table.0.as_ptr() => _,
            inout("rcx") table.0.len() => _,
            in("rax") 0_u64,
            options(nostack, preserves_flags),
        );
    }
    slot.store(
        address_of(&raw const *table) | PRESENT | WRITABLE,
        Ordering::Relaxed,
    );
    Some(table)
}

/// Returns how many bits the processor's physical addresses have.
fn physical_bits() -> u32 {
    let largest = core::arch::x86_64::__cpuid(0x8000_0000).eax;
    if largest >= 0x8000_0008 {
        core::arch::x86_64::__cpuid(0x8000_0008).eax & 0xff
    } else {
        36
    }
    .min(52)
}

/// Tells whether the processor has pages of 1 GiB.
fn has_huge_pages() -> bool {
    core::arch::x86_64::__cpuid(0x8000_0001).edx & (1 << 26) != 0
}

/// Returns an address as a number.
pub(crate) fn address_of<T>(pointer: *const T) -> u64 {
    crate::wide(pointer.addr())
}
