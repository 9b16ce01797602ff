//! Memory that a driver and the models share.

use core::ptr::NonNull;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::vec::Vec;

use vfio_core::sys::Errno;

use super::foreign::Foreign;
use super::kernel::lock;
use super::space::{Area, SharedSpace};
use super::supply::{HUGE_PAGE, Share, Supply};
use super::type1;

/// The size of a page, in bytes.
pub(super) const PAGE: usize = 4096;

/// Bytes of a word.
const WORD: usize = 8;

/// Memory of whole pages, for DMA: zeroed, or the user's own.
///
/// Dropping it takes it away from the driver. What is mapped of it stays in reach of the device,
/// unlike on Linux.
pub struct DmaMemory {
    pages: Pages,
    /// What the host gave; given back on drop.
    _share: Option<Share>,
    /// Where devices find it that no IOMMU confines; given back on drop.
    _physical: Option<Physical>,
}

/// A place in physical memory, given back on drop.
struct Physical {
    memory: SharedSpace,
    address: u64,
}

/// The memory itself. Words are little-endian on every host, so that each byte is where it is in
/// the memory of a machine.
///
/// Every access of a register's width is one atomic access, so that the two sides may race as a
/// driver and a device do: neither sees half of what the other wrote, and what was written before
/// is seen before.
#[derive(Clone)]
pub(super) struct Pages(Arc<Words>);

/// Where the words are.
enum Words {
    Own(Vec<AtomicU64>),
    Foreign(Foreign),
}

impl DmaMemory {
    /// Zeroed memory of at least `len` bytes.
    pub(super) fn zeroed(len: usize) -> Result<Self, Errno> {
        let count = whole(len, PAGE)? / WORD;
        let mut words = Vec::new();
        words.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        words.resize_with(count, AtomicU64::default);
        Ok(Self::new(Words::Own(words)))
    }

    /// Zeroed memory of at least `len` bytes, which the host gives.
    pub(super) fn ordinary(len: usize, supply: &Arc<Supply>) -> Result<Self, Errno> {
        Ok(Self {
            _share: Some(supply.take(0)?),
            ..Self::zeroed(len)?
        })
    }

    /// Zeroed memory of whole huge pages of `size` bytes, which the host gives.
    pub(super) fn huge(len: usize, size: usize, supply: &Arc<Supply>) -> Result<Self, Errno> {
        if size != HUGE_PAGE {
            return Err(Errno::EINVAL);
        }
        let len = whole(len, size)?;
        Ok(Self {
            _share: Some(supply.take(len / HUGE_PAGE)?),
            ..Self::zeroed(len)?
        })
    }

    /// Memory that is the user's.
    ///
    /// # Safety
    /// As for [`Sys::foreign_memory`](vfio_core::sys::Sys::foreign_memory).
    #[expect(unsafe_code, reason = "the memory is the caller's")]
    pub(super) unsafe fn foreign(base: NonNull<u8>, len: usize) -> Result<Self, Errno> {
        // SAFETY: the caller's promise is passed on.
        let foreign = unsafe { Foreign::new(base, len) }?;
        Ok(Self::new(Words::Foreign(foreign)))
    }

    fn new(words: Words) -> Self {
        Self {
            pages: Pages(Arc::new(words)),
            _share: None,
            _physical: None,
        }
    }

    /// Memory of at least `len` bytes in `memory`, with no byte above `highest`; and its address.
    pub(super) fn physical(
        memory: &SharedSpace,
        len: usize,
        highest: u64,
    ) -> Result<(Self, u64), Errno> {
        let this = Self::zeroed(len)?;
        let len = u64::try_from(this.pages.len()).map_err(|_| Errno::ENOMEM)?;
        let mut space = lock(memory);
        let page = u64::try_from(PAGE).map_err(|_| Errno::ENOMEM)?;
        let address = space.find(len, page);
        let address = address.ok_or(Errno::ENOMEM)?;
        let last = type1::last_of(address, len).ok_or(Errno::ENOMEM)?;
        if last > highest {
            return Err(Errno::ERANGE);
        }
        let area = Area {
            last,
            memory: this.pages.clone(),
            offset: 0,
            readable: true,
            writable: true,
        };
        space.insert(address, area);
        drop(space);
        let physical = Physical {
            memory: Arc::clone(memory),
            address,
        };
        let _physical = Some(physical);
        Ok((Self { _physical, ..this }, address))
    }

    pub(super) const fn pages(&self) -> &Pages {
        &self.pages
    }
}

impl Drop for Physical {
    fn drop(&mut self) {
        lock(&self.memory).remove(self.address);
    }
}

impl Pages {
    /// The address of the first byte.
    pub(super) fn first(&self) -> NonNull<u8> {
        NonNull::from(self.words()).cast()
    }

    /// Bytes.
    pub(super) fn len(&self) -> usize {
        self.words().len().saturating_mul(WORD)
    }

    fn words(&self) -> &[AtomicU64] {
        match &*self.0 {
            Words::Own(words) => words,
            Words::Foreign(foreign) => foreign.words(),
        }
    }

    /// The `size` bytes at `offset`, where they lie in one word.
    pub(super) fn load(&self, offset: usize, size: usize) -> Option<u64> {
        let (word, shift, mask) = self.place(offset, size)?;
        Some(u64::from_le(word.load(Ordering::Acquire)) >> shift & mask)
    }

    /// Stores the low `size` bytes of `value` at `offset`, where they lie in one word.
    pub(super) fn store(&self, offset: usize, size: usize, value: u64) -> Option<()> {
        let (word, shift, mask) = self.place(offset, size)?;
        if size == WORD {
            word.store(value.to_le(), Ordering::Release);
        } else {
            let put = |old| {
                let new = u64::from_le(old) & !(mask << shift) | (value & mask) << shift;
                Some(new.to_le())
            };
            word.fetch_update(Ordering::AcqRel, Ordering::Acquire, put)
                .ok()?;
        }
        Some(())
    }

    /// The word, how far up in it, and which bits.
    fn place(&self, offset: usize, size: usize) -> Option<(&AtomicU64, u32, u64)> {
        let inside = offset % WORD;
        if size == 0 || inside.checked_add(size)? > WORD {
            return None;
        }
        let word = self.words().get(offset / WORD)?;
        let bits = u32::try_from(size.checked_mul(8)?).ok()?;
        let shift = u32::try_from(inside.checked_mul(8)?).ok()?;
        Some((
            word,
            shift,
            u64::MAX.checked_shr(64_u32.checked_sub(bits)?)?,
        ))
    }

    /// Reads `data.len()` bytes at `offset`; those that are not there stay as they are.
    pub(super) fn read(&self, offset: usize, data: &mut [u8]) {
        let mut rest = data;
        let mut at = offset;
        while !rest.is_empty() {
            let (piece, left) = rest.split_at_mut(step(at, rest.len()));
            let Some(value) = self.load(at, piece.len()) else {
                return;
            };
            let bytes = value.to_le_bytes();
            piece
                .iter_mut()
                .zip(bytes)
                .for_each(|(to, from)| *to = from);
            at = at.saturating_add(piece.len());
            rest = left;
        }
    }

    /// Writes `data` at `offset`; what does not fit is dropped.
    pub(super) fn write(&self, offset: usize, data: &[u8]) {
        let mut rest = data;
        let mut at = offset;
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(step(at, rest.len()));
            let value = piece
                .iter()
                .rev()
                .fold(0, |value, byte| value << 8 | u64::from(*byte));
            if self.store(at, piece.len(), value).is_none() {
                return;
            }
            at = at.saturating_add(piece.len());
            rest = left;
        }
    }
}

/// A length in whole pages of `page` bytes, and not none.
fn whole(len: usize, page: usize) -> Result<usize, Errno> {
    match len.checked_next_multiple_of(page) {
        Some(len) if len > 0 => Ok(len),
        _ => Err(Errno::EINVAL),
    }
}

/// How many of `left` bytes at `offset` go in one access: a word, or what comes before one.
fn step(offset: usize, left: usize) -> usize {
    WORD.saturating_sub(offset % WORD).min(left)
}

impl fmt::Debug for DmaMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DmaMemory")
            .field("len", &self.pages.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_words_are_of_the_same_memory() {
        let memory = DmaMemory::zeroed(1).unwrap();
        let pages = memory.pages();
        assert_eq!(pages.len(), PAGE);
        pages.store(8, 8, 0x0807_0605_0403_0201);
        pages.store(10, 2, 0xffff);
        let mut bytes = [0; 10];
        pages.read(7, &mut bytes);
        assert_eq!(bytes, [0, 1, 2, 0xff, 0xff, 5, 6, 7, 8, 0]);
        pages.write(13, b"vfio");
        assert_eq!(pages.load(8, 8), Some(0x6966_7605_ffff_0201));
        assert_eq!(pages.load(16, 1), Some(u64::from(b'o')));
    }

    #[test]
    fn nothing_is_reached_past_the_end() {
        let memory = DmaMemory::zeroed(PAGE).unwrap();
        let pages = memory.pages();
        assert_eq!(pages.load(PAGE, 1), None);
        assert_eq!(pages.load(6, 4), None);
        assert_eq!(pages.store(usize::MAX, 1, 0), None);
        let mut bytes = [0xa5; 4];
        pages.write(PAGE - 2, &[1; 4]);
        pages.read(PAGE - 2, &mut bytes);
        assert_eq!(bytes, [1, 1, 0xa5, 0xa5]);
    }

    #[test]
    fn lengths_are_whole_pages_and_not_none() {
        assert_eq!(DmaMemory::zeroed(5000).unwrap().pages().len(), 8192);
        assert_eq!(DmaMemory::zeroed(0).unwrap_err(), Errno::EINVAL);
        assert_eq!(DmaMemory::zeroed(usize::MAX).unwrap_err(), Errno::EINVAL);
        let huge = usize::MAX / 2;
        assert_eq!(DmaMemory::zeroed(huge).unwrap_err(), Errno::ENOMEM);
    }
}
