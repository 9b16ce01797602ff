//! The configuration space that a driver sees: the device's, but for what is the shim's own.

use core::ops::Range;

use super::describe::Description;
use crate::pci::{self, RegionKind, Registers, Spaces};

/// What a driver wrote to the registers of places; the device's are left alone.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct Places {
    bytes: [u8; 24],
}

/// Where the registers of places are; and that of the ROM, which is not there.
const BARS: Range<u16> = 0x10..0x28;
const ROM: Range<u16> = 0x30..0x34;

impl Places {
    /// None yet.
    pub(super) const UNKNOWN: Self = Self { bytes: [0; 24] };

    /// Takes the device's own.
    pub(super) fn read<S: Spaces>(&mut self, config: Registers<S>) {
        let (registers, _) = self.bytes.as_chunks_mut();
        for (at, register) in pci::BARS.iter().zip(registers) {
            *register = config.long(*at).to_le_bytes();
        }
    }

    /// Tells whether a byte of configuration space is one of the registers'.
    pub(super) fn cover(at: u16) -> bool {
        BARS.contains(&at) || ROM.contains(&at)
    }

    /// Gives the device its own again, after a reset.
    pub(super) fn restore<S: Spaces>(&self, config: Registers<S>) {
        let (registers, _) = self.bytes.as_chunks();
        for (at, register) in pci::BARS.iter().zip(registers) {
            config.set_long(*at, u32::from_le_bytes(*register));
        }
    }

    /// Puts what a driver sees over the bytes at `at` that were read.
    pub(super) fn show(&self, at: u16, bytes: &mut [u8]) {
        for (at, byte) in (at..).zip(bytes) {
            if let Some(shown) = self.bytes.get(within(at)) {
                *byte = *shown;
            } else if ROM.contains(&at) {
                *byte = 0;
            }
        }
    }

    /// Takes a byte that a driver writes; whether it is one of the registers'.
    pub(super) fn take(&mut self, description: &Description, at: u16, byte: u8) -> bool {
        let at_byte = within(at);
        let Some(slot) = self.bytes.get_mut(at_byte) else {
            return ROM.contains(&at);
        };
        let (mask, kept) = kept(description, at_byte);
        *slot = byte & mask | *slot & kept;
        true
    }
}

/// Returns which byte of the registers a byte of configuration space is. Past their end, where it
/// is none.
fn within(at: u16) -> usize {
    usize::from(at.wrapping_sub(BARS.start))
}

/// Returns of a byte of the registers: the bits that can be written, and those that stay.
fn kept(description: &Description, at: usize) -> (u8, u8) {
    let (index, nth) = (at / 4, at % 4);
    let region = |index: usize| {
        let region = description.bars.get(index)?;
        (region.size != 0).then_some(region)
    };
    let upper = || index.checked_sub(1).and_then(region);
    let (region, at) = match (region(index), upper()) {
        (Some(region), _) => (region, nth),
        (None, Some(region)) if region.kind.is_64_bit() => (region, nth | 4),
        _ => return (0, 0),
    };
    let mask = region.size.wrapping_neg().to_le_bytes();
    let kept = match region.kind {
        _ if at != 0 => 0,
        RegionKind::Io => 0x3,
        _ => 0xf,
    };
    (mask.get(at).copied().unwrap_or(0) & !kept, kept)
}

/// Tells whether a byte of configuration space is the shim's own: the messages of MSI and MSI-X,
/// and what starts a reset.
pub(super) fn is_own(description: &Description, at: u16) -> bool {
    // Behind its first two bytes, which lead to the next.
    let is_in = |offset: u16, size: u16| (2..size).contains(&at.wrapping_sub(offset));
    let of_msi = description
        .msi
        .is_some_and(|msi| is_in(msi.offset, msi.size));
    let of_msix = description.msix.is_some_and(|msix| is_in(msix.offset, 12));
    of_msi || of_msix || description.reset.byte() == Some(at)
}
