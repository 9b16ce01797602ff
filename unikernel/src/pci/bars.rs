//! The sizes of base address registers (PCI Local Bus specification 3.0, section 6.2.5.1).

use vfio_core::pci::Command;

use super::{Registers, Spaces};

/// What a base address register leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Region {
    /// What it is.
    pub kind: RegionKind,
    /// Where it is; 0 where nobody gave it a place.
    pub address: u64,
    /// Bytes, a power of two; 0 where the register leads nowhere.
    pub size: u64,
}

/// What a base address register leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RegionKind {
    /// I/O ports.
    Io,
    /// Memory below 4 GiB.
    Memory32,
    /// Memory anywhere.
    Memory64,
    /// Memory anywhere whose reads have no side effects, so that a bridge may fetch ahead.
    Prefetchable64,
}

/// The regions of a function by the index of their register.
pub type Regions = [Region; 6];

/// Where the registers are; a bridge has the first two.
pub(crate) const BARS: [u16; 6] = [0x10, 0x14, 0x18, 0x1c, 0x20, 0x24];

/// In a register: I/O ports; memory anywhere; memory that may be fetched ahead.
const IO: u32 = 1 << 0;
const KIND: u32 = 0x7;
const ANYWHERE: u32 = 0x4;
const PREFETCHABLE: u32 = 1 << 3;

impl Region {
    /// What a register leads to that is none.
    pub const MISSING: Self = Self {
        kind: RegionKind::Io,
        address: 0,
        size: 0,
    };

    /// Tells whether nobody gave it a place.
    #[must_use]
    pub const fn lacks_place(&self) -> bool {
        self.size != 0 && self.address == 0
    }

    /// Tells whether it is there, and has a place.
    #[must_use]
    pub const fn has_place(&self) -> bool {
        self.size != 0 && self.address != 0
    }
}

impl RegionKind {
    /// Tells whether its place takes two registers.
    #[must_use]
    pub const fn is_64_bit(self) -> bool {
        matches!(self, Self::Memory64 | Self::Prefetchable64)
    }
}

/// Sizes the first `count` registers of a function.
///
/// Decoding is off meanwhile: a register that is being sized answers for addresses that are not
/// its own, and a hypervisor that passes the device through would map them.
///
/// The last register can't be the lower half of a pair: then there is nothing behind it.
pub fn size_bars<S: Spaces>(registers: Registers<S>, count: usize, regions: &mut Regions) {
    let command = registers.command();
    registers.set_command(command & !(Command::IO | Command::MEMORY));
    let mut bars = BARS.iter().zip(regions).take(count);
    while let Some((register, region)) = bars.next() {
        let (before, ones) = ones(registers, *register);
        let (kind, bits) = match before {
            // The upper half is not always there.
            _ if before & IO != 0 => (RegionKind::Io, 0xfffc),
            _ if before & KIND != ANYWHERE => (RegionKind::Memory32, !0xf),
            _ if before & PREFETCHABLE != 0 => (RegionKind::Prefetchable64, !0xf),
            _ => (RegionKind::Memory64, !0xf),
        };
        let mut address = u64::from(before & bits);
        let mut mask = u64::from(ones & bits);
        if kind.is_64_bit() {
            let Some((upper, _)) = bars.next() else {
                break;
            };
            let (before, ones) = self::ones(registers, *upper);
            address |= u64::from(before) << 32;
            mask |= u64::from(ones) << 32;
        }
        *region = Region {
            kind,
            address,
            size: mask & mask.wrapping_neg(),
        };
    }
    registers.set_command(command);
}

/// Returns the value of a register, and what it keeps of ones. It is left as it was.
fn ones<S: Spaces>(registers: Registers<S>, register: u16) -> (u32, u32) {
    let before = registers.long(register);
    registers.set_long(register, u32::MAX);
    let mask = registers.long(register);
    registers.set_long(register, before);
    (before, mask)
}
