//! Pages of memory that a driver and devices share.

mod foreign;

use core::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::vec::Vec;

use vfio_core::sys::Errno;

use foreign::Foreign;

/// The size of a page, in bytes.
pub(in crate::sim) const PAGE: usize = 4096;

/// Bytes of a word.
const WORD: usize = 8;

/// The memory itself. Words are little-endian on every host, so that each byte is where it is in
/// the memory of a machine.
///
/// Every access of a register's width is one atomic access, so that the two sides may race as a
/// driver and a device do: neither sees half of what the other wrote, and what was written before
/// is seen before.
#[derive(Clone)]
pub(in crate::sim) struct Pages(Arc<Words>);

/// Where the words are.
enum Words {
    Own(Vec<AtomicU64>),
    Foreign(Foreign),
}

impl Pages {
    /// Allocates zeroed memory of at least `len` bytes.
    pub(in crate::sim) fn zeroed(len: usize) -> Result<Self, Errno> {
        let count = whole(len, PAGE)? / WORD;
        let mut words = Vec::new();
        words.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        words.resize_with(count, AtomicU64::default);
        Ok(Self(Arc::new(Words::Own(words))))
    }

    /// Takes memory that is the user's.
    ///
    /// # Safety
    /// As for [`Sys::foreign_memory`](vfio_core::sys::Sys::foreign_memory).
    #[expect(unsafe_code, reason = "the memory is the caller's")]
    pub(in crate::sim) unsafe fn foreign(base: NonNull<u8>, len: usize) -> Result<Self, Errno> {
        // SAFETY: the caller's promise is passed on.
        let foreign = unsafe { Foreign::new(base, len) }?;
        Ok(Self(Arc::new(Words::Foreign(foreign))))
    }

    /// Returns the address of the first byte.
    pub(in crate::sim) fn first(&self) -> NonNull<u8> {
        NonNull::from(self.words()).cast()
    }

    /// Returns bytes.
    pub(in crate::sim) fn len(&self) -> usize {
        self.words().len().saturating_mul(WORD)
    }

    fn words(&self) -> &[AtomicU64] {
        match &*self.0 {
            Words::Own(words) => words,
            Words::Foreign(foreign) => foreign.words(),
        }
    }

    /// Returns the `size` bytes at `offset`, where they lie in one word.
    pub(in crate::sim) fn load(&self, offset: usize, size: usize) -> Option<u64> {
        let (word, shift, mask) = self.place(offset, size)?;
        Some(u64::from_le(word.load(Ordering::Acquire)) >> shift & mask)
    }

    /// Stores the low `size` bytes of `value` at `offset`, where they lie in one word.
    pub(in crate::sim) fn store(&self, offset: usize, size: usize, value: u64) -> Option<()> {
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

    /// Returns the word, how far up in it, and which bits.
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
    pub(in crate::sim) fn read(&self, offset: usize, data: &mut [u8]) {
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
    pub(in crate::sim) fn write(&self, offset: usize, data: &[u8]) {
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

/// Returns a length in whole pages of `page` bytes, and not none.
pub(in crate::sim) fn whole(len: usize, page: usize) -> Result<usize, Errno> {
    match len.checked_next_multiple_of(page) {
        Some(len) if len > 0 => Ok(len),
        _ => Err(Errno::EINVAL),
    }
}

/// Returns how many of `left` bytes at `offset` go in one access: a word, or what comes before one.
fn step(offset: usize, left: usize) -> usize {
    WORD.saturating_sub(offset % WORD).min(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_words_are_of_the_same_memory() {
        let pages = Pages::zeroed(1).unwrap();
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
        let pages = Pages::zeroed(PAGE).unwrap();
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
        assert_eq!(Pages::zeroed(5000).unwrap().len(), 8192);
        assert_eq!(Pages::zeroed(0).err(), Some(Errno::EINVAL));
        assert_eq!(Pages::zeroed(usize::MAX).err(), Some(Errno::EINVAL));
        let huge = usize::MAX / 2;
        assert_eq!(Pages::zeroed(huge).err(), Some(Errno::ENOMEM));
    }
}
