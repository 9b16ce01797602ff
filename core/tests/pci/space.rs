//! Writing configuration spaces.

use vfio_core::pci::{
    CapabilityId, Config, ConfigError, Entry, ExtendedId, PastEnd, Snapshot, StandardId,
};

pub(crate) type Error = ConfigError<PastEnd>;

/// A configuration space of `N` bytes, of a type 0 function.
#[derive(Clone, Debug)]
pub(crate) struct Space<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> Space<N> {
    /// Creates a function without capabilities.
    pub(crate) fn new() -> Self {
        Self([0; N])
    }

    /// Creates a function whose list starts where `pointer` says.
    pub(crate) fn with_list(pointer: u8) -> Self {
        let mut space = Self::new();
        space.put(0x06, &[0x10]);
        space.put(0x34, &[pointer]);
        space
    }

    /// Creates the bytes `rows` and zeros between them.
    pub(crate) fn from_rows(rows: &[(usize, [u8; 16])]) -> Self {
        let mut space = Self::new();
        for (offset, row) in rows {
            space.put(*offset, row);
        }
        space
    }

    pub(crate) fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// Creates a standard header with any pointer.
    pub(crate) fn standard(mut self, offset: u8, id: StandardId, next: u8) -> Self {
        self.put(offset.into(), &[id.0, next]);
        self
    }

    /// Creates an extended header of version 1 with any pointer of 12 bits.
    pub(crate) fn extended(mut self, offset: u16, id: ExtendedId, next: u16) -> Self {
        let header = u32::from(id.0) | 1 << 16 | u32::from(next) << 20;
        self.put(offset.into(), &header.to_le_bytes());
        self
    }

    pub(crate) fn config(&self) -> Config<Snapshot<&[u8]>> {
        Config::new(Snapshot(&self.0))
    }

    /// Walks the standard list.
    pub(crate) fn list(&self) -> Vec<Result<Entry, Error>> {
        self.config().capabilities().collect()
    }

    /// Walks the extended list.
    pub(crate) fn extended_list(&self) -> Vec<Result<Entry, Error>> {
        self.config().extended_capabilities().collect()
    }
}

/// Offsets and ids of a list that is sound.
pub(crate) fn standard_ids(list: &[Result<Entry, Error>]) -> Vec<(u16, StandardId)> {
    list.iter()
        .map(|entry| match entry.unwrap() {
            Entry {
                id: CapabilityId::Standard(id),
                offset,
                ..
            } => (offset, id),
            entry => panic!("{entry:?} is not a standard capability"),
        })
        .collect()
}

/// Returns offsets, ids and versions of an extended list that is sound.
pub(crate) fn extended_ids(list: &[Result<Entry, Error>]) -> Vec<(u16, ExtendedId, u8)> {
    list.iter()
        .map(|entry| match entry.unwrap() {
            Entry {
                id: CapabilityId::Extended(id),
                offset,
                version,
                ..
            } => (offset, id, version),
            entry => panic!("{entry:?} is not an extended capability"),
        })
        .collect()
}
