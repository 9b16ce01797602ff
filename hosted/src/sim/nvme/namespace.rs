//! Blocks in memory, behind a write cache.

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

/// A namespace: zeros until it is written.
#[derive(Clone, Debug)]
pub struct NvmeNamespace {
    pub(super) shift: u8,
    pub(super) blocks: u64,
    /// Bytes of metadata of a block.
    pub(super) metadata: u16,
    /// Whether metadata follow their block.
    pub(super) is_extended: bool,
    /// What is on the medium, by block.
    medium: BTreeMap<u64, Vec<u8>>,
    /// What was written and not flushed.
    cache: BTreeMap<u64, Vec<u8>>,
}

/// The formats that a namespace can have: the base-2 logarithm of bytes, and bytes of metadata.
pub(super) const FORMATS: [(u8, u16); 4] = [(9, 0), (9, 8), (12, 0), (12, 64)];

impl NvmeNamespace {
    /// A namespace with blocks of 512 bytes.
    #[must_use]
    pub fn of_512(blocks: u64) -> Self {
        Self::new(9, blocks)
    }

    /// A namespace with blocks of 4096 bytes.
    #[must_use]
    pub fn of_4096(blocks: u64) -> Self {
        Self::new(12, blocks)
    }

    fn new(shift: u8, blocks: u64) -> Self {
        Self {
            shift,
            blocks,
            metadata: 0,
            is_extended: false,
            medium: BTreeMap::new(),
            cache: BTreeMap::new(),
        }
    }

    /// With metadata, 8 bytes for a block of 512 bytes and 64 for one of 4096, which follow their
    /// block or are apart.
    #[must_use]
    pub fn with_metadata(mut self, is_extended: bool) -> Self {
        self.metadata = if self.shift == 9 { 8 } else { 64 };
        self.is_extended = is_extended;
        self
    }

    /// The number of the format.
    pub(super) fn format(&self) -> u8 {
        let is_it = |format: &(u8, u16)| *format == (self.shift, self.metadata);
        let found = FORMATS.iter().position(is_it).unwrap_or(0);
        u8::try_from(found).unwrap_or(0)
    }

    pub(super) fn size(&self) -> usize {
        1 << self.shift
    }

    /// Bytes of a block with its metadata.
    fn whole(&self) -> usize {
        self.size().saturating_add(usize::from(self.metadata))
    }

    /// Whether all of `count` blocks from `lba` on are there.
    pub(super) fn has(&self, lba: u64, count: u64) -> bool {
        lba.checked_add(count).is_some_and(|end| end <= self.blocks)
    }

    /// A block with its metadata behind it.
    pub(super) fn read(&self, lba: u64) -> Vec<u8> {
        let found = self.cache.get(&lba).or_else(|| self.medium.get(&lba));
        found.cloned().unwrap_or_else(|| vec![0; self.whole()])
    }

    /// Writes a block with its metadata behind it.
    pub(super) fn write(&mut self, lba: u64, block: Vec<u8>) {
        self.cache.insert(lba, block);
    }

    pub(super) fn zero(&mut self, lba: u64) {
        let zeros = vec![0; self.whole()];
        self.cache.insert(lba, zeros);
    }

    pub(super) fn flush(&mut self) {
        self.medium.append(&mut self.cache);
    }

    pub(super) fn lose_cache(&mut self) {
        self.cache.clear();
    }

    /// All blocks without their metadata.
    pub(super) fn medium(&self) -> Vec<u8> {
        let len = usize::try_from(self.blocks).unwrap_or(0);
        let mut all = vec![0; len.saturating_mul(self.size())];
        for (block, index) in all.chunks_mut(self.size()).zip(0..) {
            if let Some(data) = self.medium.get(&index) {
                block
                    .iter_mut()
                    .zip(data)
                    .for_each(|(to, from)| *to = *from);
            }
        }
        all
    }
}
