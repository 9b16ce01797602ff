//! Memory for the data of commands, one slot for each that can be under way (PRP entries and
//! lists: NVM Express Base Specification 1.4, 4.3).

use vfio_core::dma::{Buffer, Direction, DmaError, DmaHandle};
use vfio_core::mmio::{Part, Window};
use vfio_core::sys::Sys;

use super::identity::Identity;

/// A slot of a queue pair, in the hands of the caller. As long as it is, no command uses it.
///
/// It is given back by [`QueuePair::release`](super::QueuePair::release); one that is dropped is
/// not used again. No other queue pair takes it.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use = "a slot that is dropped is not used again"]
pub struct Slot {
    pub(super) pair: Identity,
    pub(super) number: u16,
}

/// The memory of a queue pair's slots.
#[derive(Debug)]
pub(super) struct Memory<M: DmaHandle> {
    /// The data of all slots, alone, so that they can fill huge pages.
    data: Buffer<M>,
    /// The PRP lists of slots of more than two pages, and behind them the metadata of all.
    rest: Option<Buffer<M>>,
    /// Bytes of data of a slot: whole pages.
    pub(super) len: usize,
    /// Bytes of the list of a slot: whole pages.
    list_len: usize,
    /// Where the metadata begin.
    metadata: usize,
    /// Bytes of metadata of a slot.
    pub(super) metadata_len: usize,
}

/// What is known of a slot: who uses it, and its addresses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) usage: Usage,
    /// Where the device finds the data, and so its first page; the others follow it.
    pub(super) prp1: u64,
    /// The list of the second page and those after it.
    pub(super) list: u64,
    pub(super) mptr: u64,
}

/// Who uses a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Usage {
    /// Nobody.
    #[default]
    Free,
    /// The caller.
    Held,
    /// Nobody, ever: the queue pair was given up.
    Lost,
    /// A command, since the clock was looked at last.
    Fresh,
    /// A command, since this time in milliseconds or before.
    Since(u32),
}

impl Usage {
    /// Tells whether a command uses the slot.
    #[inline(always)]
    pub(super) const fn is_command(self) -> bool {
        matches!(self, Self::Fresh | Self::Since(_))
    }
}

/// Bytes of a page.
pub(super) const PAGE: usize = 4096;
/// Bytes of a page.
pub(super) const PAGE_64: u64 = 4096;
/// Entries of a page of a PRP list.
const ENTRIES: usize = PAGE / 8;

impl<M: DmaHandle> Memory<M> {
    /// Allocates `slots` slots, each with `len` bytes of data, whole pages, and `metadata` bytes of
    /// metadata.
    pub(super) fn new(
        dma: &M,
        slots: usize,
        len: usize,
        metadata: usize,
    ) -> Result<Self, DmaError> {
        let metadata_len = metadata.checked_next_multiple_of(8).unwrap_or(metadata);
        let list_len = list_pages(len / PAGE).saturating_mul(PAGE);
        let metadata = list_len.saturating_mul(slots);
        let buffer = |len| Buffer::new(dma.clone(), len, Direction::Both);
        let data = buffer(len.saturating_mul(slots))?;
        let rest = match metadata.saturating_add(metadata_len.saturating_mul(slots)) {
            0 => None,
            rest => Some(buffer(rest)?),
        };
        let mut memory = Self {
            data,
            rest,
            len,
            list_len,
            metadata,
            metadata_len,
        };
        for slot in 0..slots {
            memory.write_list(slot);
        }
        Ok(memory)
    }

    /// Returns the addresses of a slot.
    pub(super) fn place(&self, slot: usize) -> Place {
        let rest = self.rest.as_ref().map_or(0, Buffer::iova);
        Place {
            usage: Usage::Free,
            prp1: at(self.data.iova(), slot, self.len),
            list: at(rest, slot, self.list_len),
            mptr: match self.metadata_len {
                0 => 0,
                len => at(at(rest, 1, self.metadata), slot, len),
            },
        }
    }

    /// Returns the data of a slot.
    pub(super) fn window(&mut self) -> Window<&<M::Sys as Sys>::Memory> {
        self.data.window()
    }

    /// Returns the metadata of a slot.
    pub(super) fn metadata(
        &mut self,
        slot: usize,
    ) -> Option<Window<Part<&<M::Sys as Sys>::Memory>>> {
        let offset = slot.saturating_mul(self.metadata_len);
        let offset = offset.saturating_add(self.metadata);
        let window = self.rest.as_mut()?.window();
        window.into_part(offset, self.metadata_len).ok()
    }

    /// Writes the list of a slot as it is for the longest transfer.
    fn write_list(&mut self, slot: usize) {
        let pages = self.len / PAGE;
        // The first page is in the command itself.
        let mut left = pages.saturating_sub(1);
        let mut next = 1_usize;
        for list in 0..self.list_len / PAGE {
            for entry in 0..ENTRIES {
                if left == 0 {
                    return;
                }
                if entry == ENTRIES.wrapping_sub(1) && left > 1 {
                    self.chain(slot, list);
                } else {
                    self.write_entry(slot, list, entry, next);
                    next = next.saturating_add(1);
                    left = left.saturating_sub(1);
                }
            }
        }
    }

    /// Makes the list of a slot right for a transfer of `pages` pages.
    ///
    /// The last entry of a page of the list names the next page of it, unless it is the last of
    /// all entries: then it names data. All other entries are right for any transfer.
    #[cold]
    pub(super) fn fit_list(&mut self, slot: usize, pages: usize) {
        let mut left = pages.saturating_sub(1);
        let mut next = 1_usize;
        for list in 0..self.list_len / PAGE {
            if left < ENTRIES {
                return;
            }
            let before = ENTRIES.wrapping_sub(1);
            if left == ENTRIES {
                let page = next.saturating_add(before);
                self.write_entry(slot, list, before, page);
                return;
            }
            self.chain(slot, list);
            left = left.saturating_sub(before);
            next = next.saturating_add(before);
        }
    }

    /// Makes the last entry of a page of a slot's list name the next page of it.
    fn chain(&mut self, slot: usize, list: usize) {
        let before = ENTRIES.wrapping_sub(1);
        let page = at(0, list.saturating_add(1), PAGE);
        let start = self.rest.as_ref().map_or(0, Buffer::iova);
        let iova = at(start, slot, self.list_len).wrapping_add(page);
        self.write(slot, list, before, iova);
    }

    /// Makes an entry of a page of a slot's list name a page of its data.
    fn write_entry(&mut self, slot: usize, list: usize, entry: usize, page: usize) {
        let iova = at(at(self.data.iova(), slot, self.len), page, PAGE);
        self.write(slot, list, entry, iova);
    }

    /// Writes an entry of a page of a slot's list.
    fn write(&mut self, slot: usize, list: usize, entry: usize, iova: u64) {
        let Some(rest) = &mut self.rest else {
            return;
        };
        let offset = slot.saturating_mul(self.list_len);
        let offset = offset.saturating_add(list.saturating_mul(PAGE));
        let offset = offset.saturating_add(entry.saturating_mul(8));
        // It lies in the list, whose length is that of its pages.
        let _ = rest.window().write(offset, iova);
    }
}

/// Tells whether the list of a transfer of `pages` pages may have to be rewritten for it.
pub(super) const fn needs_fit(pages: usize) -> bool {
    pages > ENTRIES
}

/// Returns how many pages the list of a transfer of `pages` pages has.
const fn list_pages(pages: usize) -> usize {
    if pages <= 2 {
        return 0;
    }
    // Each page of the list but the last has one entry less for data.
    let entries = pages.saturating_sub(1);
    match entries.checked_sub(ENTRIES) {
        None | Some(0) => 1,
        Some(more) => more.div_ceil(ENTRIES.wrapping_sub(1)).saturating_add(1),
    }
}

/// Returns the address of the `index`th of pieces of `len` bytes from `base` on.
fn at(base: u64, index: usize, len: usize) -> u64 {
    let offset = u64::try_from(index.saturating_mul(len)).unwrap_or(u64::MAX);
    base.wrapping_add(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_a_page_for_every_511_entries_and_one_more() {
        for (pages, lists) in [
            (0, 0),
            (1, 0),
            (2, 0),
            (3, 1),
            (513, 1),
            (514, 2),
            (1024, 2),
            (1025, 3),
            (1536, 4),
        ] {
            assert_eq!(list_pages(pages), lists, "{pages}");
        }
    }
}
