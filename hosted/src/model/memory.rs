//! Memory behind the regions of a device.

use std::boxed::Box;
use std::collections::BTreeMap;
use std::fmt;
use std::vec::Vec;

use vfio_core::sys::Errno;

use super::{Bus, Registers};

/// Memory behind every region: it reads as zeros until it is written, and takes up room only
/// where it was.
#[derive(Clone, Default)]
pub struct PlainMemory {
    pages: BTreeMap<(u32, u64), Box<[u8; PAGE]>>,
    /// What a reset does not take away.
    initial: BTreeMap<(u32, u64), Box<[u8; PAGE]>>,
}

const PAGE: usize = 4096;

impl PlainMemory {
    /// Creates memory of zeros.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            pages: BTreeMap::new(),
            initial: BTreeMap::new(),
        }
    }

    /// Puts `bytes` at `offset` of a region, now and after each reset.
    #[must_use]
    pub fn with(mut self, region: u32, offset: u64, bytes: &[u8]) -> Self {
        self.store(region, offset, bytes);
        self.initial.clone_from(&self.pages);
        self
    }

    fn load(&self, region: u32, offset: u64, data: &mut [u8]) {
        for (at, byte) in (offset..).zip(data) {
            let (page, start) = split(at);
            let page = self.pages.get(&(region, page));
            *byte = page
                .and_then(|page| page.get(start))
                .copied()
                .unwrap_or_default();
        }
    }

    fn store(&mut self, region: u32, offset: u64, bytes: &[u8]) {
        for (at, byte) in (offset..).zip(bytes) {
            let (page, start) = split(at);
            let page = self
                .pages
                .entry((region, page))
                .or_insert_with(|| Box::new([0; PAGE]));
            if let Some(slot) = page.get_mut(start) {
                *slot = *byte;
            }
        }
    }
}

/// Returns the number of a page, and where in it.
const fn split(offset: u64) -> (u64, usize) {
    let page = PAGE as u64;
    // The remainder is below 4096.
    (offset / page, (offset % page) as usize)
}

impl Registers for PlainMemory {
    fn read(&mut self, region: u32, offset: u64, data: &mut [u8], _: &mut Bus<'_>) {
        self.load(region, offset, data);
    }

    fn write(&mut self, region: u32, offset: u64, data: &[u8], _: &mut Bus<'_>) {
        self.store(region, offset, data);
    }

    fn reset(&mut self, _: &mut Bus<'_>) {
        self.pages.clone_from(&self.initial);
    }

    /// Returns each page: its region, its number, and its bytes.
    fn save(&self) -> Vec<u8> {
        let mut data = Vec::new();
        for ((region, page), bytes) in &self.pages {
            data.extend(region.to_le_bytes());
            data.extend(page.to_le_bytes());
            data.extend(&**bytes);
        }
        data
    }

    fn restore(&mut self, data: &[u8]) -> Result<(), Errno> {
        let mut pages = BTreeMap::new();
        let mut rest = data;
        while !rest.is_empty() {
            let (region, tail) = rest.split_first_chunk().ok_or(Errno::EINVAL)?;
            let (page, tail) = tail.split_first_chunk().ok_or(Errno::EINVAL)?;
            let (bytes, tail) = tail.split_first_chunk().ok_or(Errno::EINVAL)?;
            let place = (u32::from_le_bytes(*region), u64::from_le_bytes(*page));
            pages.insert(place, Box::new(*bytes));
            rest = tail;
        }
        self.pages = pages;
        Ok(())
    }
}

impl fmt::Debug for PlainMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainMemory")
            .field("pages", &self.pages.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::bus::tests::with_bus;

    #[test]
    fn what_is_written_is_read_across_pages() {
        let mut memory = PlainMemory::new();
        let last = u64::MAX - 7;
        for offset in [0, 4094, 1 << 33, last] {
            memory.store(2, offset, b"vfio");
            let mut data = [0xa5; 4];
            memory.load(2, offset, &mut data);
            assert_eq!(&data, b"vfio");
            memory.load(0, offset, &mut data);
            assert_eq!(data, [0; 4]);
        }
    }

    #[test]
    fn a_reset_keeps_what_was_there_first() {
        let mut memory = PlainMemory::new().with(0, 8, b"first");
        memory.store(0, 8, b"later and more");
        with_bus(|bus, _| memory.reset(bus));
        let mut data = [0xa5; 8];
        memory.load(0, 8, &mut data);
        assert_eq!(&data, b"first\0\0\0");
    }
}
