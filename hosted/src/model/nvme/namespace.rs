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
    /// The protection information that metadata begin with.
    pub(super) protection: Option<NvmeProtection>,
    /// Bytes of what it says of itself, in the place of what is so.
    pub(super) said: Vec<(usize, Vec<u8>)>,
    /// What is on the medium, by block.
    medium: BTreeMap<u64, Vec<u8>>,
    /// What was written and not flushed.
    cache: BTreeMap<u64, Vec<u8>>,
}

/// Protection information of blocks: a guard and tags, which the controller makes and checks (NVM
/// Command Set Specification 1.0, 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NvmeProtection {
    /// The type, 1 to 3.
    pub kind: u8,
    /// The format (PIF): 0 for a guard of 16 bits, 1 for 32, 2 for 64.
    pub format: u8,
    /// Bits of the storage tag.
    pub storage_tag: u8,
}

impl NvmeProtection {
    /// Bytes for each block.
    pub(super) const fn len(self) -> usize {
        if self.format == 0 { 8 } else { 16 }
    }

    /// Returns the extended format (ELBAF).
    pub(super) fn elbaf(self) -> u16 {
        u16::from(self.format) << 7 | u16::from(self.storage_tag)
    }

    /// Returns the reference tag of a block, as far as it is in 32 bits.
    pub(super) fn reference(self, lba: u64) -> u32 {
        let bits = match self.format {
            0 => 32,
            1 => 80,
            _ => 48_u32,
        };
        let bits = bits.saturating_sub(self.storage_tag.into()).min(32);
        u32::try_from(lba & ((1 << bits) - 1)).unwrap_or(0)
    }

    /// Makes the protection information of a block as the controller does. The guard is a checksum
    /// of its own.
    pub(super) fn made(self, block: &[u8], reference: u32) -> Vec<u8> {
        let sum = block.iter().fold(0_u64, |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        });
        let mut made = vec![0; self.len()];
        let guard = made.iter_mut().take(if self.format == 0 { 2 } else { 8 });
        guard
            .zip(sum.to_be_bytes())
            .for_each(|(to, from)| *to = from);
        let tag = made.iter_mut().rev().zip(reference.to_le_bytes());
        tag.for_each(|(to, from)| *to = from);
        made
    }
}

/// The formats that a namespace can have: the base-2 logarithm of bytes, and bytes of metadata.
pub(super) const FORMATS: [(u8, u16); 6] = [(9, 0), (9, 8), (12, 0), (12, 64), (12, 8), (12, 16)];

impl NvmeNamespace {
    /// Creates a namespace with blocks of 512 bytes.
    #[must_use]
    pub fn of_512(blocks: u64) -> Self {
        Self::new(9, blocks)
    }

    /// Creates a namespace with blocks of 4096 bytes.
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
            protection: None,
            said: Vec::new(),
            medium: BTreeMap::new(),
            cache: BTreeMap::new(),
        }
    }

    /// Gives it metadata, 8 bytes for a block of 512 bytes and 64 for one of 4096. They follow
    /// their block, or are apart.
    #[must_use]
    pub fn with_metadata(mut self, is_extended: bool) -> Self {
        self.metadata = if self.shift == 9 { 8 } else { 64 };
        self.is_extended = is_extended;
        self
    }

    /// Puts bytes at the start of a block, on the medium.
    #[must_use]
    pub fn with_block(mut self, lba: u64, bytes: &[u8]) -> Self {
        let mut block = vec![0; self.whole()];
        block
            .iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        self.medium.insert(lba, block);
        self
    }

    /// Gives it protection information in metadata that have room for nothing else. They are apart
    /// from their blocks, or behind them.
    #[must_use]
    pub fn with_protection(mut self, protection: NvmeProtection, is_extended: bool) -> Self {
        self.metadata = u16::try_from(protection.len()).unwrap_or(0);
        self.is_extended = is_extended;
        self.protection = Some(protection);
        self
    }

    /// Puts bytes at a place of the namespace's answer to Identify (CNS 0), whatever is so.
    #[must_use]
    pub fn saying(mut self, at: usize, bytes: &[u8]) -> Self {
        self.said.push((at, bytes.to_vec()));
        self
    }

    /// Returns the number of the format.
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

    /// Returns the metadata of a block. Zeros where it was never written.
    pub(super) fn metadata_of(&self, lba: u64) -> Vec<u8> {
        self.read(lba).split_off(self.size())
    }

    /// Tells whether all of `count` blocks from `lba` on are there.
    pub(super) fn has(&self, lba: u64, count: u64) -> bool {
        lba.checked_add(count).is_some_and(|end| end <= self.blocks)
    }

    /// Returns a block with its metadata behind it.
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

    /// Brings a block from the cache to the medium.
    pub(super) fn flush_block(&mut self, lba: u64) {
        if let Some(block) = self.cache.remove(&lba) {
            self.medium.insert(lba, block);
        }
    }

    pub(super) fn flush(&mut self) {
        self.medium.append(&mut self.cache);
    }

    pub(super) fn lose_cache(&mut self) {
        self.cache.clear();
    }

    /// Returns all blocks without their metadata.
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
