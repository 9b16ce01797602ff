//! Memory at known physical addresses, for devices that no IOMMU confines.
//!
//! `/proc/self/pagemap` tells where a page lies, to those with `CAP_SYS_ADMIN`. The kernel moves
//! ordinary pages as it likes, locked ones too, so that only huge pages are given out; what moves
//! even those, the documentation of [`Linux`](super::Linux) says.

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{pread, retry_on_intr};
use vfio_core::mmio::{Addressable as _, Window};
use vfio_core::sys::Errno;

use super::memory::Memory;
use super::pages::whole;
use super::{errno, to_u64};

/// A bit for pages that are in memory (Documentation/admin-guide/mm/pagemap.rst).
const PRESENT: u64 = 1 << 63;
/// The bits of the page's number.
const NUMBER: u64 = (1 << 55) - 1;
/// Bytes of an entry.
const ENTRY: usize = 8;
/// The sizes of the huge pages that are tried, in bytes, of most machines with small pages of 4 KiB.
const SIZES: [usize; 2] = [2 << 20, 1 << 30];
/// Among how much memory a stretch is looked for that is contiguous and lies low enough: so many
/// times its length, one after the other. What is not kept goes back to the pool at once.
const CHOICES: [usize; 5] = [1, 2, 4, 8, 16];

/// Allocates zeroed memory of at least `len` bytes, contiguous and with no byte above `highest`.
/// Returns its physical address too.
pub(super) fn memory(len: usize, highest: u64) -> Result<(Memory, u64), Errno> {
    let pagemap = retry_on_intr(|| {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        open(c"/proc/self/pagemap", flags, Mode::empty())
    })
    .map_err(errno)?;
    let len = whole(len, rustix::param::page_size())?;
    let mut refusal = Errno::ENOMEM;
    let mut smaller = 0;
    for size in SIZES {
        // What fits into one page takes no larger one.
        if smaller >= len {
            break;
        }
        match find(&pagemap, len, size, highest) {
            Err(Errno::ENOMEM) => (),
            Err(Errno::ERANGE) => refusal = Errno::ERANGE,
            found => return found,
        }
        smaller = size;
    }
    Err(refusal)
}

/// Looks for such memory among huge pages of `size` bytes, ever more of them while there are any.
fn find(pagemap: &OwnedFd, len: usize, size: usize, highest: u64) -> Result<(Memory, u64), Errno> {
    let taken = whole(len, size)?;
    let mut refusal = Errno::ENOMEM;
    for times in CHOICES {
        let choice = taken.checked_mul(times).ok_or(Errno::ENOMEM)?;
        // A kernel without pages of this size says `EINVAL`.
        let Ok(choice) = Memory::huge(choice, size) else {
            break;
        };
        match run(pagemap, &choice, size, taken, highest) {
            Ok(run) => return Ok((choice.cut(run.at, taken, len)?, run.address)),
            Err(errno @ (Errno::ENOMEM | Errno::ERANGE)) => refusal = errno,
            Err(errno) => return Err(errno),
        }
    }
    Err(refusal)
}

/// Returns the first contiguous stretch of `len` bytes of huge pages with no byte above `highest`.
/// `size` is that of a huge page in bytes. Otherwise tells why there is none.
fn run(
    pagemap: &OwnedFd,
    choice: &Memory,
    size: usize,
    len: usize,
    highest: u64,
) -> Result<Run, Errno> {
    let mut run = None::<Run>;
    let mut refusal = Errno::ENOMEM;
    let mut window = Window::new(choice);
    for at in (0..window.len()).step_by(size) {
        // Old kernels take the page only now.
        window.write(at, 0_u64).map_err(|_| Errno::EIO)?;
        let address = address(pagemap, choice, at)?;
        let grown = run.filter(|run| run.address.checked_add(to_u64(run.len)) == Some(address));
        let grown = match grown {
            Some(run) => Run {
                len: run.len.saturating_add(size),
                ..run
            },
            None => Run {
                at,
                address,
                len: size,
            },
        };
        if grown.len < len {
            run = Some(grown);
        } else if grown.is_up_to(highest) {
            return Ok(grown);
        } else {
            refusal = Errno::ERANGE;
            // It is as long, and lies too high: it may still end lower, and moves on.
            run = Some(grown.without_first(size));
        }
    }
    Err(refusal)
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
    /// Tells whether no byte lies above `highest`.
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

/// Returns the physical address of the page at `at`, which is in memory.
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
    use super::super::memory::tests::{free, pool};
    use super::*;
    use vfio_core::mmio::Access as _;

    const HUGE: usize = SIZES[0];

    #[test]
    fn memory_is_a_huge_page_or_is_refused() {
        let _pool = pool();
        let reserved = free();
        match memory(1, u64::MAX) {
            Ok((memory, address)) => {
                assert_ne!(reserved, 0);
                assert_eq!(memory.len(), rustix::param::page_size());
                assert_eq!(address % to_u64(HUGE), 0);
                let mut window = Window::new(memory);
                window.write::<u64>(4088, 7).unwrap();
                assert_eq!(window.read::<u64>(0), Ok(0));
                drop(window);
                assert_eq!(free(), reserved, "what was not a whole page was kept");
            }
            // Where the tests may not know addresses, they see that they are refused.
            Err(Errno::EPERM) => (),
            Err(errno) => assert_eq!((errno, reserved), (Errno::ENOMEM, 0)),
        }
    }

    #[test]
    fn what_lies_too_high_is_not_given_out() {
        let _pool = pool();
        let reserved = free();
        let refused = memory(1, 0xfff).err();
        let reasons = [Errno::ERANGE, Errno::EPERM, Errno::ENOMEM];
        assert!(refused.is_some_and(|refused| reasons.contains(&refused)));
        assert_eq!(refused == Some(Errno::ENOMEM), reserved == 0);
        assert_eq!(free(), reserved);
    }

    #[test]
    fn no_length_is_refused() {
        assert_eq!(memory(0, u64::MAX).err(), Some(Errno::EINVAL));
    }

    #[test]
    fn a_stretch_ends_where_it_may() {
        let run = Run {
            at: 0,
            address: 0x20_0000,
            len: 0x40_0000,
        };
        assert!(run.is_up_to(0x5f_ffff) && !run.is_up_to(0x5f_fffe));
        let rest = run.without_first(HUGE);
        assert_eq!((rest.at, rest.address, rest.len), (HUGE, 0x40_0000, HUGE));
        assert!(rest.is_up_to(0x5f_ffff));
    }
}
