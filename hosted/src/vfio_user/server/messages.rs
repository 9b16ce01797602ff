//! The MSI-X table of a device and its pending bits (PCI Local Bus Specification 3.0, 6.8.2).

use std::vec;
use std::vec::Vec;

use vfio_core::wire::abi::pci_irq;

use super::interrupts::Interrupts;
use crate::model::Description;

/// The table, and where it and the pending bits are.
#[derive(Default)]
pub(super) struct Messages {
    table: Option<(u32, u64)>,
    pending: Option<(u32, u64)>,
    entries: Vec<Entry>,
}

/// An entry.
#[derive(Clone)]
struct Entry {
    bytes: [u8; ENTRY],
    /// Whether its client has masked or unmasked it. One that never did relies on the requests by which it sets
    /// interrupts, as with the kernel: its vectors are not masked.
    is_written: bool,
}

/// Bytes of an entry: address, data, control.
const ENTRY: usize = 16;
/// The entry's control, of which the lowest bit masks.
const CONTROL: usize = 12;

impl Messages {
    pub(super) fn new(description: &Description) -> Self {
        let msix = description.irqs.get(2).copied().flatten();
        let count = msix.map_or(0, |msix| usize::try_from(msix.count).unwrap_or(0));
        let mut bytes = [0; ENTRY];
        if let Some(control) = bytes.get_mut(CONTROL) {
            *control = 1;
        }
        let entry = Entry {
            bytes,
            is_written: false,
        };
        Self {
            table: description.config.msix_place(false),
            pending: description.config.msix_place(true),
            entries: vec![entry; count],
        }
    }

    /// Tells whether a vector is masked, where MSI-X is enabled or masked as a whole as `state` says.
    pub(super) fn is_masked(&self, vector: usize, (_, all): (bool, bool)) -> bool {
        let entry = self.entries.get(vector);
        all || entry.is_none_or(|entry| {
            entry.is_written
                && entry
                    .bytes
                    .get(CONTROL)
                    .is_some_and(|control| control & 1 != 0)
        })
    }

    /// Reads what belongs to messages; tells whether it does.
    pub(super) fn read(
        &self,
        region: u32,
        at: u64,
        data: &mut [u8],
        interrupts: &Interrupts,
    ) -> bool {
        if let Some(start) = self.in_table(region, at) {
            for (byte, place) in data.iter_mut().zip(start..) {
                let entry = self.entries.get(place / ENTRY);
                let found = entry.and_then(|entry| entry.bytes.get(place % ENTRY));
                *byte = found.copied().unwrap_or(0);
            }
            return true;
        }
        let Some(start) = self.in_pending(region, at) else {
            return false;
        };
        for (byte, place) in data.iter_mut().zip(start..) {
            let first = place.saturating_mul(8);
            let bit = |n: usize| interrupts.is_pending(pci_irq::MSIX, first.saturating_add(n));
            *byte = (0..8).fold(0, |bits, n| bits | u8::from(bit(n)) << n);
        }
        true
    }

    /// Writes what belongs to messages; tells whether it does.
    pub(super) fn write(&mut self, region: u32, at: u64, data: &[u8]) -> bool {
        let Some(start) = self.in_table(region, at) else {
            return self.in_pending(region, at).is_some();
        };
        for (byte, place) in data.iter().zip(start..) {
            let Some(entry) = self.entries.get_mut(place / ENTRY) else {
                continue;
            };
            entry.is_written |= place % ENTRY == CONTROL;
            if let Some(slot) = entry.bytes.get_mut(place % ENTRY) {
                *slot = *byte;
            }
        }
        true
    }

    /// Finds where in the table an access begins.
    fn in_table(&self, region: u32, at: u64) -> Option<usize> {
        let len = self.entries.len().saturating_mul(ENTRY);
        within(self.table, region, at, len)
    }

    /// Finds where in the pending bits an access begins: 8 bytes for every 64 vectors.
    fn in_pending(&self, region: u32, at: u64) -> Option<usize> {
        let len = self.entries.len().div_ceil(64).saturating_mul(8);
        within(self.pending, region, at, len)
    }
}

/// Returns how far an access lies in `len` bytes at a place.
fn within(place: Option<(u32, u64)>, region: u32, at: u64, len: usize) -> Option<usize> {
    let (_, start) = place.filter(|(found, _)| *found == region)?;
    let at = usize::try_from(at.checked_sub(start)?).ok()?;
    (at < len).then_some(at)
}
