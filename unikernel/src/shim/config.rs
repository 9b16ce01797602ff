//! The configuration space that a driver sees: the device's, but for what is the shim's own.

use core::ops::Range;

use super::describe::Description;
use crate::pci::{self, RegionKind, Registers, Spaces};

/// What a driver wrote to the registers of places; the device's are left alone.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct Places {
    registers: [u32; 6],
}

/// Where the registers of places are; and that of the ROM, which is not there.
const BARS: Range<u16> = 0x10..0x28;
const ROM: Range<u16> = 0x30..0x34;

impl Places {
    /// None yet.
    pub(super) const UNKNOWN: Self = Self { registers: [0; 6] };

    /// Takes the device's own.
    pub(super) fn read<S: Spaces>(&mut self, config: Registers<S>) {
        for (at, register) in pci::BARS.iter().zip(&mut self.registers) {
            *register = config.long(*at);
        }
    }

    /// Whether a byte of configuration space is one of the registers'.
    pub(super) fn cover(at: u16) -> bool {
        BARS.contains(&at) || ROM.contains(&at)
    }

    /// Gives the device its own again, after a reset.
    pub(super) fn restore<S: Spaces>(&self, config: Registers<S>) {
        for (at, register) in pci::BARS.iter().zip(&self.registers) {
            config.set_long(*at, *register);
        }
    }

    /// Puts what a driver sees over the bytes at `at` that were read.
    pub(super) fn show(&self, at: u16, bytes: &mut [u8]) {
        for (at, byte) in (at..).zip(bytes) {
            if let Some((register, nth)) = within(at) {
                let shown = self
                    .registers
                    .get(register)
                    .map(|value| value.to_le_bytes());
                *byte = shown.and_then(|shown| shown.get(nth).copied()).unwrap_or(0);
            } else if ROM.contains(&at) {
                *byte = 0;
            }
        }
    }

    /// Takes a byte that a driver writes; whether it is one of the registers'.
    pub(super) fn take(&mut self, description: &Description, at: u16, byte: u8) -> bool {
        let Some((index, nth)) = within(at) else {
            return ROM.contains(&at);
        };
        let Some(register) = self.registers.get_mut(index) else {
            return true;
        };
        let (mask, kept) = kept(description, index, *register);
        let mut bytes = register.to_le_bytes();
        if let Some(slot) = bytes.get_mut(nth) {
            *slot = byte;
        }
        *register = u32::from_le_bytes(bytes) & mask | kept;
        true
    }
}

/// The register that a byte is of, and which of its bytes.
fn within(at: u16) -> Option<(usize, usize)> {
    let at = at.checked_sub(BARS.start).filter(|_| at < BARS.end)?;
    Some((usize::from(at / 4), usize::from(at % 4)))
}

/// The bits of a register that can be written, and those that stay.
fn kept(description: &Description, index: usize, register: u32) -> (u32, u32) {
    let region = |index: usize| {
        description
            .bars
            .get(index)
            .filter(|region| region.size != 0)
    };
    let half = |value: u64, high: bool| {
        let value = if high {
            value >> 32
        } else {
            value & 0xffff_ffff
        };
        u32::try_from(value).unwrap_or(0)
    };
    if let Some(region) = region(index) {
        let kind = match region.kind {
            RegionKind::Io => 0x3,
            _ => 0xf,
        };
        return (
            half(region.size.wrapping_neg(), false) & !kind,
            register & kind,
        );
    }
    match index.checked_sub(1).and_then(region) {
        Some(region) if region.kind.is_64_bit() => (half(region.size.wrapping_neg(), true), 0),
        _ => (0, 0),
    }
}

/// Whether a byte of configuration space is the shim's own: the messages of MSI and MSI-X, and
/// what starts a reset.
pub(super) fn is_own(description: &Description, at: u16) -> bool {
    let of_msi = description.msi.is_some_and(|msi| {
        let start = msi.offset.saturating_add(2);
        (start..msi.offset.saturating_add(msi.size)).contains(&at)
    });
    let of_msix = description.msix.is_some_and(|msix| {
        let start = msix.offset.saturating_add(2);
        (start..start.saturating_add(10)).contains(&at)
    });
    of_msi || of_msix || description.reset.byte() == Some(at)
}
