//! The device's side of a split virtqueue (Virtual I/O Device Specification 1.2, section 2.7).

use std::vec;
use std::vec::Vec;

use super::control::VirtioFault;
use crate::model::{Bus, Fault};

/// A virtqueue, as the driver set it up.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    pub(super) size: u16,
    pub(super) vector: u16,
    pub(super) is_enabled: bool,
    pub(super) desc: u64,
    pub(super) driver: u64,
    pub(super) device: u64,
    /// Chains that were taken from the available ring.
    taken: u16,
    /// Chains that were put into the used ring.
    used: u16,
}

/// A request: the memory that it names.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    pub(super) head: u16,
    /// What the device reads.
    pub(super) readable: Vec<Part>,
    /// What it writes.
    pub(super) writable: Vec<Part>,
    pub(super) fault: Option<VirtioFault>,
}

/// A part of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    iova: u64,
    len: u32,
}

/// What a driver that a strict device does not understand did.
#[derive(Debug)]
pub(super) struct Broken;

impl From<Fault> for Broken {
    fn from(_: Fault) -> Self {
        // The bus keeps it.
        Self
    }
}

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
/// In the flags of a ring: its reader need not be told.
const QUIET: u16 = 1;

impl Queue {
    /// Creates a queue of up to `size` entries, which the driver did not set up.
    pub(super) fn new(size: u16, vector: u16) -> Self {
        Self {
            size,
            vector,
            ..Self::default()
        }
    }

    /// Returns the next chain that the driver offers, if there is one.
    pub(super) fn next(&mut self, bus: &mut Bus<'_>) -> Result<Option<Chain>, Broken> {
        let index = self.available(bus)?;
        let pending = index.wrapping_sub(self.taken);
        if pending == 0 {
            return Ok(None);
        }
        if pending > self.size {
            return Err(Broken);
        }
        let slot = u64::from(self.taken % self.size);
        let head = read_u16(bus, self.driver.wrapping_add(4 + 2 * slot))?;
        let chain = self.chain(head, bus)?;
        self.taken = self.taken.wrapping_add(1);
        Ok(Some(chain))
    }

    /// Tells whether the driver offers a chain.
    pub(super) fn has_more(&self, bus: &mut Bus<'_>) -> Result<bool, Broken> {
        Ok(self.available(bus)? != self.taken)
    }

    fn available(&self, bus: &mut Bus<'_>) -> Result<u16, Broken> {
        read_u16(bus, self.driver.wrapping_add(2))
    }

    /// Follows a chain, as strictly as the specification has it.
    fn chain(&self, head: u16, bus: &mut Bus<'_>) -> Result<Chain, Broken> {
        let mut chain = Chain {
            head,
            ..Chain::default()
        };
        let (mut table, mut len, mut index) = (self.desc, self.size, head);
        let mut is_indirect = false;
        // One more than a chain may have: a table is named by a descriptor.
        let most = self.size;
        for _ in 0..=most {
            if index >= len {
                return Err(Broken);
            }
            let mut bytes = [0; 16];
            bus.dma_read(table.wrapping_add(u64::from(index) * 16), &mut bytes)?;
            let [a @ .., l0, l1, l2, l3, f0, f1, n0, n1] = bytes;
            let part = Part {
                iova: u64::from_le_bytes(a),
                len: u32::from_le_bytes([l0, l1, l2, l3]),
            };
            let flags = u16::from_le_bytes([f0, f1]);
            if flags & INDIRECT != 0 {
                if is_indirect || flags & (NEXT | WRITE) != 0 || !part.len.is_multiple_of(16) {
                    return Err(Broken);
                }
                len = u16::try_from(part.len / 16).map_err(|_| Broken)?;
                (table, index, is_indirect) = (part.iova, 0, true);
                continue;
            }
            if flags & WRITE != 0 {
                chain.writable.push(part);
            } else if chain.writable.is_empty() {
                chain.readable.push(part);
            } else {
                // What is read comes first.
                return Err(Broken);
            }
            if flags & NEXT == 0 {
                return Ok(chain);
            }
            index = u16::from_le_bytes([n0, n1]);
        }
        Err(Broken)
    }

    /// Gives a chain back into which `len` bytes were written; the driver does not see it yet.
    pub(super) fn put(&mut self, chain: &Chain, len: u32, bus: &mut Bus<'_>) -> Result<(), Broken> {
        let (mut id, mut len, mut times) = (u32::from(chain.head), len, 1);
        match chain.fault {
            Some(VirtioFault::UsedId(other)) => id = other,
            Some(VirtioFault::UsedLen(other)) => len = other,
            Some(VirtioFault::Twice) => times = 2,
            _ => (),
        }
        for _ in 0..times {
            let slot = u64::from(self.used % self.size);
            let at = self.device.wrapping_add(4 + 8 * slot);
            let entry = u64::from(id) | u64::from(len) << 32;
            bus.dma_write(at, &entry.to_le_bytes())?;
            self.used = self.used.wrapping_add(1);
        }
        if let Some(VirtioFault::UsedAhead(more)) = chain.fault {
            self.used = self.used.wrapping_add(more);
        }
        Ok(())
    }

    /// Returns how many chains were put into the used ring.
    pub(super) const fn used(&self) -> u16 {
        self.used
    }

    /// Lets the driver see what was put into the used ring since `old`; whether it wants an
    /// interrupt.
    pub(super) fn publish(
        &mut self,
        old: u16,
        has_event_idx: bool,
        flags: u16,
        bus: &mut Bus<'_>,
    ) -> Result<bool, Broken> {
        let new = self.used;
        if new == old {
            return Ok(false);
        }
        let [a, b] = flags.to_le_bytes();
        let [c, d] = new.to_le_bytes();
        bus.dma_write(self.device, &[a, b, c, d])?;
        if has_event_idx {
            let at = self.driver.wrapping_add(4 + 2 * u64::from(self.size));
            let event = read_u16(bus, at)?;
            return Ok(new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old));
        }
        Ok(read_u16(bus, self.driver)? & QUIET == 0)
    }

    /// Asks to be told of the next chain (`avail_event`).
    pub(super) fn ask(&self, event: Option<u16>, bus: &mut Bus<'_>) -> Result<(), Broken> {
        let at = self.device.wrapping_add(4 + 8 * u64::from(self.size));
        let event = event.unwrap_or(self.taken);
        Ok(bus.dma_write(at, &event.to_le_bytes())?)
    }
}

impl Chain {
    /// Returns all that the device reads.
    pub(super) fn read(&self, bus: &mut Bus<'_>) -> Result<Vec<u8>, Broken> {
        let mut all = vec![];
        for part in &self.readable {
            let mut bytes = vec![0; usize::try_from(part.len).map_err(|_| Broken)?];
            bus.dma_read(part.iova, &mut bytes)?;
            all.extend(bytes);
        }
        Ok(all)
    }

    /// Returns how many bytes the device may write.
    pub(super) fn room(&self) -> usize {
        let len = |part: &Part| usize::try_from(part.len).unwrap_or(0);
        self.writable.iter().map(len).sum()
    }

    /// Writes bytes from `skipped` on of what the device may write; returns how many there was
    /// room for.
    pub(super) fn write(
        &self,
        skipped: usize,
        bytes: &[u8],
        bus: &mut Bus<'_>,
    ) -> Result<usize, Broken> {
        let (mut skipped, mut rest) = (skipped, bytes);
        for part in &self.writable {
            let len = usize::try_from(part.len).map_err(|_| Broken)?;
            if skipped >= len {
                skipped -= len;
                continue;
            }
            let (now, later) = rest.split_at(rest.len().min(len - skipped));
            let at = part
                .iova
                .wrapping_add(u64::try_from(skipped).map_err(|_| Broken)?);
            bus.dma_write(at, now)?;
            (skipped, rest) = (0, later);
        }
        Ok(bytes.len() - rest.len())
    }

    /// Writes garbage into its memory, as a device may until it is reset.
    pub(super) fn scribble(&self, bus: &mut Bus<'_>) {
        let garbage = vec![0xdb; self.room().min(64)];
        // A fault is kept by the bus.
        let _ = self.write(0, &garbage, bus);
    }
}

fn read_u16(bus: &mut Bus<'_>, iova: u64) -> Result<u16, Broken> {
    let mut bytes = [0; 2];
    bus.dma_read(iova, &mut bytes)?;
    Ok(u16::from_le_bytes(bytes))
}
