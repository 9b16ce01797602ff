//! Split virtqueues (Virtual I/O Device Specification 1.2, section 2.7).
//!
//! What the driver knows of its requests it keeps in memory of its own. Of what the device writes
//! it believes nothing: a used entry counts only for a chain that the device has, with a length
//! that it may write.

mod chain;
mod layout;

use vfio_core::dma::{Buffer, Direction, DmaError, DmaHandle};
use vfio_core::mmio::{Width, after_status, before_doorbell, full_barrier};

use super::error::Misfit;
use super::features::Features;
use super::transport::{Doorbell, QueueSetup};
use chain::{Chains, Ended};
use layout::{DESCRIPTOR, INDEX, Layout};

/// A split virtqueue of up to `N` entries, with its memory.
#[derive(Debug)]
pub(super) struct Virtqueue<M: DmaHandle, const N: usize> {
    memory: Buffer<M>,
    layout: Layout,
    chains: Chains<N>,
    doorbell: Doorbell,
    has_event_idx: bool,
    /// Chains that were put into the available ring, ever.
    available: u16,
    /// How many of them the device can see.
    published: u16,
    /// How many there were when it was last looked whether the device wants to be told.
    told: u16,
    /// Chains that were taken from the used ring, ever.
    taken: u16,
    /// How many the device said to have used when it was last looked.
    seen: u16,
    /// Whether it interrupts.
    interrupts: bool,
}

/// A part of a request, in memory that the device reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where it is.
    pub(super) iova: u64,
    /// Bytes.
    pub(super) len: u32,
    /// What the device may do with it.
    pub(super) access: Access,
}

/// What a device may do with a part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// A request that the device is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Used {
    /// What it was put in with.
    pub(super) token: u16,
    /// Bytes that the device says that it wrote: no more than it may.
    pub(super) len: u32,
}

/// In a descriptor: another one follows.
const NEXT: u64 = 1;
/// In a descriptor: the device writes.
const WRITE: u64 = 2;
/// In a descriptor: it names a table of descriptors.
const INDIRECT: u64 = 4;
/// In the flags of a ring: its reader need not be told.
const QUIET: u16 = 1;
/// How far behind the next event is where none is wanted: it takes this many requests to reach it.
const FAR: u16 = 1 << 15;

impl<M: DmaHandle, const N: usize> Virtqueue<M, N> {
    /// Makes an empty virtqueue of `size` entries, a power of two and at most `N`, whose requests
    /// have up to `pieces` parts.
    pub(super) fn new(
        dma: &M,
        size: u16,
        features: Features,
        pieces: u16,
    ) -> Result<Self, DmaError> {
        let is_indirect = pieces > 1 && features.contains(Features::INDIRECT_DESC);
        let layout = Layout::new(size, if is_indirect { pieces } else { 0 });
        let memory = Buffer::new(dma.clone(), layout.len, Direction::Both)?;
        let mut queue = Self {
            memory,
            layout,
            chains: Chains::new(size),
            doorbell: Doorbell::default(),
            has_event_idx: features.contains(Features::EVENT_IDX),
            available: 0,
            published: 0,
            told: 0,
            taken: 0,
            seen: 0,
            interrupts: true,
        };
        queue.disable_interrupts();
        Ok(queue)
    }

    /// Empties it, which no device uses now.
    pub(super) fn clear(&mut self) {
        for at in (0..self.layout.len).step_by(2) {
            self.put::<u16>(at, 0);
        }
        self.chains = Chains::new(self.layout.size());
        (self.available, self.published, self.told) = (0, 0, 0);
        (self.taken, self.seen) = (0, 0);
        self.interrupts = true;
        self.disable_interrupts();
    }

    /// Returns what the device is told of it.
    pub(super) fn setup(&self, queue: u16, vector: Option<u16>) -> QueueSetup {
        QueueSetup {
            queue,
            size: self.layout.size(),
            desc: self.iova(0),
            driver: self.iova(self.layout.available),
            device: self.iova(self.layout.used),
            vector,
        }
    }

    /// Keeps where the device is told of requests.
    pub(super) const fn set_doorbell(&mut self, doorbell: Doorbell) {
        self.doorbell = doorbell;
    }

    #[inline(always)]
    pub(super) const fn doorbell(&self) -> &Doorbell {
        &self.doorbell
    }

    /// Returns its number.
    pub(super) const fn number(&self) -> u16 {
        self.doorbell.queue
    }

    /// Returns how many entries it has.
    pub(super) const fn size(&self) -> u16 {
        self.layout.size()
    }

    /// Returns how many requests of so many parts it has room for.
    pub(super) fn room(&self, pieces: u16) -> u16 {
        let size = self.layout.size();
        match size.checked_div(pieces).unwrap_or(0) {
            // No request may have more parts than there are entries (section 2.7.5.3.1).
            0 => 0,
            _ if pieces <= self.layout.table() => size,
            room => room,
        }
    }

    /// Returns how many requests the device has.
    #[inline(always)]
    pub(super) const fn under_way(&self) -> u16 {
        self.chains.under_way()
    }

    /// Returns how many requests the device was not told of.
    #[inline(always)]
    pub(super) const fn unpublished(&self) -> u16 {
        self.available.wrapping_sub(self.published)
    }

    /// Puts a request in, to be known by `token`; whether there was room.
    #[inline]
    pub(super) fn add(&mut self, pieces: &[Piece], token: u16) -> bool {
        let Ok(count) = u16::try_from(pieces.len()) else {
            return false;
        };
        let is_indirect = count > 1 && count <= self.layout.table();
        let links = if is_indirect { 1 } else { count };
        if links == 0 || links > self.chains.free() {
            return false;
        }
        let head = self.chains.first();
        let last = if is_indirect {
            self.write_table(head, pieces, count);
            head
        } else {
            self.write_chain(head, pieces)
        };
        let writable = pieces.iter().filter(|piece| piece.access == Access::Write);
        let writable = writable.fold(0, |sum: u32, piece| sum.saturating_add(piece.len));
        self.chains.begin(token, links, last, writable);
        self.put(self.layout.available_entry(self.available), head);
        self.available = self.available.wrapping_add(1);
        true
    }

    /// Writes descriptors in a row from `head` on, and returns the last.
    #[inline(always)]
    fn write_chain(&mut self, head: u16, pieces: &[Piece]) -> u16 {
        let (mut index, mut last) = (head, head);
        let mut rest = pieces;
        while let Some((piece, behind)) = rest.split_first() {
            let next = self.chains.behind(index);
            let link = (!behind.is_empty()).then_some(next);
            self.write_descriptor(Layout::descriptor(index), piece, link);
            last = index;
            index = next;
            rest = behind;
        }
        last
    }

    /// Writes a table of descriptors, and the descriptor `head` that names it.
    fn write_table(&mut self, head: u16, pieces: &[Piece], count: u16) {
        let table = self.layout.table_of(head);
        let mut at = table;
        for (piece, next) in pieces.iter().zip(1..) {
            let link = (next < count).then_some(next);
            self.write_descriptor(at, piece, link);
            at = at.wrapping_add(DESCRIPTOR);
        }
        let len = u64::from(count).wrapping_mul(16);
        let descriptor = Layout::descriptor(head);
        self.put(descriptor, self.iova(table));
        self.put(descriptor.wrapping_add(8), len | INDIRECT << 32);
    }

    #[inline(always)]
    fn write_descriptor(&mut self, at: usize, piece: &Piece, next: Option<u16>) {
        let mut flags = match piece.access {
            Access::Read => 0,
            Access::Write => WRITE,
        };
        if next.is_some() {
            flags |= NEXT;
        }
        let next = u64::from(next.unwrap_or(0));
        self.put(at, piece.iova);
        let rest = u64::from(piece.len) | flags << 32 | next << 48;
        self.put(at.wrapping_add(8), rest);
    }

    /// Lets the device see the requests that were put in.
    #[inline(always)]
    pub(super) fn publish(&mut self) {
        if self.published == self.available {
            return;
        }
        before_doorbell();
        self.put(self.layout.available.wrapping_add(INDEX), self.available);
        self.published = self.available;
    }

    /// Lets the device see the requests that were put in; whether it wants to be told of them.
    #[inline(always)]
    pub(super) fn wants_notification(&mut self) -> bool {
        self.publish();
        let (old, new) = (self.told, self.published);
        if old == new {
            return false;
        }
        self.told = new;
        // The device writes the event or the flag, and then looks at the index once more.
        full_barrier();
        if self.has_event_idx {
            let event: u16 = self.get(self.layout.available_event());
            new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
        } else {
            let flags: u16 = self.get(self.layout.used);
            flags & QUIET == 0
        }
    }

    /// Returns how many requests the device is done with that were not taken.
    ///
    /// # Errors
    /// [`Misfit::Index`] where these are more than it has.
    #[inline(always)]
    pub(super) fn pending(&mut self) -> Result<u16, Misfit> {
        if self.seen == self.taken {
            self.look()?;
        }
        Ok(self.seen.wrapping_sub(self.taken))
    }

    /// Looks how many requests the device is done with.
    ///
    /// # Errors
    /// As [`Virtqueue::pending`].
    #[inline(always)]
    pub(super) fn look(&mut self) -> Result<(), Misfit> {
        let index: u16 = self.get(self.layout.used.wrapping_add(INDEX));
        let used = index.wrapping_sub(self.taken);
        // Of those that it can see.
        let under_way = self.chains.under_way().wrapping_sub(self.unpublished());
        if used > under_way {
            return Err(Misfit::Index { used, under_way });
        }
        after_status();
        self.seen = index;
        Ok(())
    }

    /// Returns the next request that the device is done with, if there is one. It stays to be
    /// taken.
    ///
    /// # Errors
    /// [`Misfit`]
    #[inline(always)]
    pub(super) fn peek(&mut self) -> Result<Option<Used>, Misfit> {
        Ok(self.next()?.map(|(_, _, used)| used))
    }

    /// Takes the next request that the device is done with, if there is one.
    ///
    /// # Errors
    /// [`Misfit`]
    #[inline(always)]
    pub(super) fn take(&mut self) -> Result<Option<Used>, Misfit> {
        let Some((id, ended, used)) = self.next()? else {
            return Ok(None);
        };
        self.chains.end(id, ended);
        self.taken = self.taken.wrapping_add(1);
        Ok(Some(used))
    }

    /// Reads the next used entry, once, and checks it.
    #[inline(always)]
    fn next(&mut self) -> Result<Option<(u16, Ended, Used)>, Misfit> {
        if self.pending()? == 0 {
            return Ok(None);
        }
        let entry: u64 = self.get(self.layout.used_entry(self.taken));
        let (id, len) = (u32::truncate(entry), u32::truncate(entry >> 32));
        let ended = self.chains.known(id).ok_or(Misfit::Id { id })?;
        if len > ended.writable {
            let most = ended.writable;
            return Err(Misfit::TooLong { len, most });
        }
        let token = ended.token;
        // The chain is known: its number has 16 bits.
        Ok(Some((u16::truncate(entry), ended, Used { token, len })))
    }

    /// Wants to be told by an interrupt of the next request that the device is done with. There
    /// may be some by then: look once more.
    pub(super) fn enable_interrupts(&mut self) {
        self.interrupts = true;
        if self.has_event_idx {
            self.put(self.layout.used_event(), self.taken);
        } else {
            self.put::<u16>(self.layout.available, 0);
        }
        // The device looks at it after it has written its index.
        full_barrier();
    }

    /// Wants no interrupts; some may come all the same.
    pub(super) fn disable_interrupts(&mut self) {
        if !core::mem::replace(&mut self.interrupts, false) {
            return;
        }
        if self.has_event_idx {
            let event = self.taken.wrapping_sub(1).wrapping_add(FAR);
            self.put(self.layout.used_event(), event);
        } else {
            self.put(self.layout.available, QUIET);
        }
    }

    /// Returns where the device finds what is at `at`.
    fn iova(&self, at: usize) -> u64 {
        let at = u64::try_from(at).unwrap_or(u64::MAX);
        self.memory.iova().wrapping_add(at)
    }

    /// Reads a number; what is not in the memory reads as zero.
    #[inline(always)]
    fn get<T: Width>(&mut self, at: usize) -> T {
        let value = self.memory.window().read(at);
        value.unwrap_or_else(|_| T::truncate(0))
    }

    /// Writes a number; all that are written lie in the memory.
    #[inline(always)]
    fn put<T: Width>(&mut self, at: usize, value: T) {
        let _ = self.memory.window().write(at, value);
    }
}

/// Returns the bytes of memory that a descriptor's length means.
#[inline]
pub(super) fn memory_len(len: u32) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}
