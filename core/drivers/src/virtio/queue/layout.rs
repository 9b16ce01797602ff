//! Where the parts of a split virtqueue are in its memory (Virtual I/O Device Specification 1.2,
//! section 2.7).

/// Bytes of a descriptor.
pub(super) const DESCRIPTOR: usize = 16;
/// Bytes of an entry of the used ring.
const USED: usize = 8;
/// Bytes before the entries of a ring: its flags and its index.
pub(super) const RING: usize = 4;
/// Where the index of a ring is, in bytes from its start.
pub(super) const INDEX: usize = 2;

/// Where the parts are, in bytes from the start of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Entries: a power of two.
    size: u16,
    /// Descriptors of each indirect table; 0 where there are none.
    table: u16,
    /// The available ring.
    pub(super) available: usize,
    /// The used ring, at 4 past a multiple of 64: so its entries are at multiples of 8, and are
    /// read in one access, and the device's lines of cache are not those of the driver.
    pub(super) used: usize,
    /// The indirect tables.
    tables: usize,
    /// All of it.
    pub(super) len: usize,
}

impl Layout {
    pub(super) fn new(size: u16, table: u16) -> Self {
        let entries = usize::from(size);
        let available = entries.saturating_mul(DESCRIPTOR);
        // Flags, index, entries and the event.
        let end = available
            .saturating_add(RING)
            .saturating_add(entries.saturating_mul(2))
            .saturating_add(2);
        let used = end.next_multiple_of(64).saturating_add(RING);
        let end = used
            .saturating_add(RING)
            .saturating_add(entries.saturating_mul(USED))
            .saturating_add(2);
        let tables = end.next_multiple_of(64);
        let table_len = usize::from(table).saturating_mul(DESCRIPTOR);
        Self {
            size,
            table,
            available,
            used,
            tables,
            len: tables.saturating_add(entries.saturating_mul(table_len)),
        }
    }

    /// Returns how many entries there are.
    #[inline(always)]
    pub(super) const fn size(&self) -> u16 {
        self.size
    }

    /// Returns how many descriptors an indirect table has.
    #[inline(always)]
    pub(super) const fn table(&self) -> u16 {
        self.table
    }

    /// Returns where the descriptor `index` is.
    #[inline(always)]
    pub(super) fn descriptor(index: u16) -> usize {
        usize::from(index).wrapping_mul(DESCRIPTOR)
    }

    /// Returns where the indirect table of the descriptor `index` is.
    #[inline(always)]
    pub(super) fn table_of(&self, index: u16) -> usize {
        let table_len = usize::from(self.table).wrapping_mul(DESCRIPTOR);
        self.tables
            .wrapping_add(usize::from(index).wrapping_mul(table_len))
    }

    /// Returns where the entry for the count `count` is in the available ring.
    #[inline(always)]
    pub(super) fn available_entry(&self, count: u16) -> usize {
        self.available
            .wrapping_add(RING)
            .wrapping_add(self.slot(count).wrapping_mul(2))
    }

    /// Returns where the entry for the count `count` is in the used ring.
    #[inline(always)]
    pub(super) fn used_entry(&self, count: u16) -> usize {
        self.used
            .wrapping_add(RING)
            .wrapping_add(self.slot(count).wrapping_mul(USED))
    }

    /// Returns where the driver says when it wants an interrupt (`used_event`).
    #[inline(always)]
    pub(super) fn used_event(&self) -> usize {
        let entries = usize::from(self.size).wrapping_mul(2);
        self.available.wrapping_add(RING).wrapping_add(entries)
    }

    /// Returns where the device says when it wants a notification (`avail_event`).
    #[inline(always)]
    pub(super) fn available_event(&self) -> usize {
        let entries = usize::from(self.size).wrapping_mul(USED);
        self.used.wrapping_add(RING).wrapping_add(entries)
    }

    /// Returns the entry of a ring for a count that goes on and on.
    #[inline(always)]
    fn slot(&self, count: u16) -> usize {
        usize::from(count & self.size.wrapping_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_aligned_and_apart() {
        for size in [1, 2, 4, 8, 64, 256, 1024, 32768] {
            for table in [0, 3, 18] {
                let layout = Layout::new(size, table);
                let entries = usize::from(size);
                assert_eq!(layout.available % 2, 0);
                assert_eq!(layout.used % 4, 0);
                assert!(layout.available >= entries * 16);
                assert_eq!(layout.used_event(), layout.available + 4 + 2 * entries);
                assert!(layout.used >= layout.used_event() + 2);
                assert_eq!(layout.used_entry(0) % 8, 0);
                assert!(layout.table_of(0) >= layout.available_event() + 2);
                assert_eq!(layout.table_of(0) % 16, 0);
                let last = layout.table_of(size - 1) + usize::from(table) * 16;
                assert_eq!(last, layout.len);
            }
        }
    }

    #[test]
    fn counts_go_round_the_rings() {
        let layout = Layout::new(4, 0);
        assert_eq!(layout.used_entry(5), layout.used_entry(1));
        assert_eq!(layout.available_entry(u16::MAX), layout.available_entry(3));
    }
}
