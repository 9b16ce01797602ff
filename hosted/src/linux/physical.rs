//! Memory at known physical addresses, for devices that no IOMMU confines.
//!
//! `/proc/self/pagemap` tells where a page lies, to those with `CAP_SYS_ADMIN`. Locked pages are
//! not written out, but the kernel may still move them to make room for huge pages
//! (`vm.compact_unevictable_allowed`); huge pages stay where they are, and are taken for all
//! that is longer than a page where there are any.

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{pread, retry_on_intr};
use vfio_core::mmio::Addressable as _;
use vfio_core::sys::Errno;

use super::memory::{HUGE, Memory};
use super::{errno, to_u64};

/// A bit for pages that are in memory (Documentation/admin-guide/mm/pagemap.rst).
const PRESENT: u64 = 1 << 63;
/// The bits of the page's number.
const NUMBER: u64 = (1 << 55) - 1;
/// Bytes of an entry.
const ENTRY: usize = 8;
/// In how much memory a stretch is looked for that is contiguous and lies low enough: so many
/// times its length, and at least so many bytes.
const CHOICE: (usize, usize) = (8, 1 << 20);

/// Zeroed memory of at least `len` bytes, contiguous and with no byte above `highest`, and its
/// physical address.
pub(super) fn memory(len: usize, highest: u64) -> Result<(Memory, u64), Errno> {
    let pagemap = retry_on_intr(|| {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        open(c"/proc/self/pagemap", flags, Mode::empty())
    })
    .map_err(errno)?;
    let page = rustix::param::page_size();
    let len = len.checked_next_multiple_of(page).ok_or(Errno::EINVAL)?;
    if len > page
        && let Some(found) = huge(&pagemap, len, highest)
    {
        return Ok(found);
    }
    let (times, least) = CHOICE;
    let choice = Memory::new(len.saturating_mul(times).max(least))?;
    choice.lock()?;
    let mut run = None::<Run>;
    let mut lowest = u64::MAX;
    for at in (0..choice.pages()).step_by(page) {
        let address = address(&pagemap, &choice, at)?;
        lowest = lowest.min(address);
        let grown = run.filter(|run| run.address.checked_add(to_u64(run.len)) == Some(address));
        let grown = match grown {
            Some(run) => Run {
                len: run.len.saturating_add(page),
                ..run
            },
            None => Run {
                at,
                address,
                len: page,
            },
        };
        if grown.len == len && grown.is_up_to(highest) {
            return Ok((choice.cut(grown.at, len)?, grown.address));
        }
        // A stretch that is as long and lies too high may still end lower: it moves on.
        run = Some(if grown.len == len {
            grown.without_first(page)
        } else {
            grown
        });
    }
    Err(if lowest > highest {
        Errno::ERANGE
    } else {
        Errno::ENOMEM
    })
}

/// Pages that follow each other in both address spaces.
#[derive(Clone, Copy)]
struct Run {
    /// Where in the memory it starts, in bytes.
    at: usize,
    /// Its physical address.
    address: u64,
    /// Bytes.
    len: usize,
}

impl Run {
    /// Whether no byte lies above `highest`.
    fn is_up_to(&self, highest: u64) -> bool {
        let last = to_u64(self.len).checked_sub(1);
        last.and_then(|last| self.address.checked_add(last))
            .is_some_and(|last| last <= highest)
    }

    fn without_first(self, page: usize) -> Self {
        Self {
            at: self.at.saturating_add(page),
            address: self.address.saturating_add(to_u64(page)),
            len: self.len.saturating_sub(page),
        }
    }
}

/// One huge page, where there is one that is large enough and lies low enough.
fn huge(pagemap: &OwnedFd, len: usize, highest: u64) -> Option<(Memory, u64)> {
    let sizes = HUGE.into_iter().rev();
    let (size, flags) = sizes.clone().find(|(size, _)| *size >= len)?;
    let memory = Memory::huge(size, len, flags).ok()?;
    memory.lock().ok()?;
    let run = Run {
        at: 0,
        address: address(pagemap, &memory, 0).ok()?,
        len,
    };
    run.is_up_to(highest).then_some((memory, run.address))
}

/// The physical address of the page at `at` of locked memory.
fn address(pagemap: &OwnedFd, memory: &Memory, at: usize) -> Result<u64, Errno> {
    let page = rustix::param::page_size();
    let address = memory.as_ptr().as_ptr().addr().checked_add(at);
    let index = address.ok_or(Errno::EINVAL)? / page;
    let place = to_u64(index).checked_mul(to_u64(ENTRY));
    let mut entry = [0; ENTRY];
    let place = place.ok_or(Errno::EINVAL)?;
    let read = retry_on_intr(|| pread(pagemap, &mut entry, place)).map_err(errno)?;
    if read != ENTRY {
        return Err(Errno::EIO);
    }
    match u64::from_ne_bytes(entry) {
        entry if entry & PRESENT == 0 => Err(Errno::ENOMEM),
        // The number of a page is hidden from who may not know it.
        entry if entry & NUMBER == 0 => Err(Errno::EPERM),
        entry => (entry & NUMBER)
            .checked_mul(to_u64(page))
            .ok_or(Errno::EOVERFLOW),
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use vfio_core::mmio::{Access as _, Window};

    /// Where the tests may not know addresses, they see that they are refused.
    fn allowed(len: usize, highest: u64) -> Option<(Memory, u64)> {
        match memory(len, highest) {
            Err(Errno::EPERM) => None,
            found => Some(found.unwrap()),
        }
    }

    #[test]
    fn a_page_has_an_address_on_a_page_boundary() {
        let Some((memory, address)) = allowed(1, u64::MAX) else {
            return;
        };
        assert_eq!(memory.len(), rustix::param::page_size());
        assert_eq!(address % 4096, 0);
        let mut window = Window::new(memory);
        window.write::<u64>(4088, 7).unwrap();
        assert_eq!(window.read::<u64>(0), Ok(0));
    }

    #[test]
    fn a_stretch_is_contiguous() {
        let Ok((memory, first)) = memory(8192, u64::MAX) else {
            // A machine whose memory is in pieces has none.
            return;
        };
        let pagemap: OwnedFd = std::fs::File::open("/proc/self/pagemap").unwrap().into();
        assert_eq!(address(&pagemap, &memory, 0), Ok(first));
        assert_eq!(address(&pagemap, &memory, 4096), Ok(first + 4096));
    }

    #[test]
    fn what_lies_too_high_is_not_given_out() {
        let refused = memory(1, 0xfff).err();
        assert!(
            matches!(refused, Some(Errno::ERANGE | Errno::EPERM)),
            "{refused:?}"
        );
    }
}
