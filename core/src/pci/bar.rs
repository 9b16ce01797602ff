//! Base address registers (PCI Local Bus specification 3.0, section 6.2.5; PCI Express base
//! specification, section 7.5.1.2.1).

use core::fmt;

use super::ConfigError;

/// A base address register, or a pair of them.
///
/// A register of all zeros is a 32-bit memory BAR without an address or no BAR at all: whether
/// there is one, and of which size, the VFIO region of the same index tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Bar {
    /// Memory below 4 GiB.
    Memory32 {
        /// Where it starts.
        address: u32,
        /// Whether reads have no side effects and writes may be merged.
        prefetchable: bool,
    },
    /// Memory below 1 MiB; old devices only.
    MemoryBelow1Mib {
        /// Where it starts.
        address: u32,
        /// Whether reads have no side effects and writes may be merged.
        prefetchable: bool,
    },
    /// Memory anywhere; takes two registers.
    Memory64 {
        /// Where it starts.
        address: u64,
        /// Whether reads have no side effects and writes may be merged.
        prefetchable: bool,
    },
    /// I/O space.
    Io {
        /// Where it starts.
        port: u32,
    },
    /// Memory of a type that is reserved.
    Reserved {
        /// The register.
        register: u32,
    },
}

/// A row of base address registers. Each 64-bit one has its upper half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Bars {
    registers: [u32; 6],
    count: usize,
}

/// The BARs of a row with their indexes, without upper halves.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BarsIter<'a> {
    index: usize,
    rest: &'a [u32],
}

/// The last register of a row is the lower half of a 64-bit BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct UnpairedBar {
    /// Its index.
    pub index: usize,
}

/// The base address register of the expansion ROM (PCI Local Bus specification 3.0, section
/// 6.2.5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ExpansionRom {
    /// Where it starts; 0 where there is none, or none was assigned.
    pub address: u32,
    /// Whether it is decoded.
    pub enabled: bool,
}

impl Bar {
    /// Returns its start, in the space that it lies in.
    #[must_use]
    pub fn address(self) -> u64 {
        match self {
            Self::Memory32 { address, .. } | Self::MemoryBelow1Mib { address, .. } => {
                address.into()
            }
            Self::Memory64 { address, .. } => address,
            Self::Io { port } => port.into(),
            Self::Reserved { register } => (register & !0xf).into(),
        }
    }

    /// Returns the first BAR of `registers` and the registers behind it. `None` without one, or
    /// without its upper half.
    fn split(registers: &[u32]) -> Option<(Self, &[u32])> {
        let (&register, rest) = registers.split_first()?;
        if register & 1 != 0 {
            let port = register & !0x3;
            return Some((Self::Io { port }, rest));
        }
        let address = register & !0xf;
        let prefetchable = register & 0x8 != 0;
        Some(match (register >> 1) & 0x3 {
            0b00 => (
                Self::Memory32 {
                    address,
                    prefetchable,
                },
                rest,
            ),
            0b01 => (
                Self::MemoryBelow1Mib {
                    address,
                    prefetchable,
                },
                rest,
            ),
            0b10 => {
                let (&upper, rest) = rest.split_first()?;
                let address = (u64::from(upper) << 32) | u64::from(address);
                (
                    Self::Memory64 {
                        address,
                        prefetchable,
                    },
                    rest,
                )
            }
            _ => (Self::Reserved { register }, rest),
        })
    }
}

impl Bars {
    /// Pairs up to six registers. More are no part of a row.
    ///
    /// # Errors
    /// [`UnpairedBar`]
    pub fn new(registers: &[u32]) -> Result<Self, UnpairedBar> {
        let mut this = Self::default();
        for (slot, register) in this.registers.iter_mut().zip(registers) {
            *slot = *register;
            this.count = this.count.saturating_add(1);
        }
        let mut iter = this.iter();
        iter.by_ref().for_each(drop);
        if iter.rest.is_empty() {
            Ok(this)
        } else {
            Err(UnpairedBar { index: iter.index })
        }
    }

    /// Reads `N` registers from `offset` on.
    pub(super) fn read<const N: usize, E, F>(
        offset: u16,
        mut read: F,
    ) -> Result<Self, ConfigError<E>>
    where
        F: FnMut(u16) -> Result<u32, ConfigError<E>>,
    {
        let mut registers = [0; N];
        let mut last = offset;
        let mut next = offset;
        for slot in &mut registers {
            *slot = read(next)?;
            last = next;
            next = next.saturating_add(4);
        }
        Self::new(&registers).map_err(|_| ConfigError::UnpairedBar { offset: last })
    }

    /// Returns the BAR whose register, or lower register, has this index. `None` for an upper half.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Bar> {
        self.iter()
            .find_map(|(at, bar)| (at == index).then_some(bar))
    }

    /// Returns the BARs with their indexes, without upper halves.
    #[must_use]
    pub fn iter(&self) -> BarsIter<'_> {
        BarsIter {
            index: 0,
            rest: self.registers.get(..self.count).unwrap_or(&[]),
        }
    }
}

impl<'a> IntoIterator for &'a Bars {
    type Item = (usize, Bar);
    type IntoIter = BarsIter<'a>;

    fn into_iter(self) -> BarsIter<'a> {
        self.iter()
    }
}

impl Iterator for BarsIter<'_> {
    type Item = (usize, Bar);

    fn next(&mut self) -> Option<Self::Item> {
        let (bar, rest) = Bar::split(self.rest)?;
        let index = self.index;
        let taken = self.rest.len().saturating_sub(rest.len());
        self.index = index.saturating_add(taken);
        self.rest = rest;
        Some((index, bar))
    }
}

impl core::iter::FusedIterator for BarsIter<'_> {}

impl ExpansionRom {
    pub(super) const fn from_register(register: u32) -> Self {
        Self {
            address: register & !0x7ff,
            enabled: register & 1 != 0,
        }
    }
}

impl fmt::Display for Bar {
    /// Writes it as `lspci -v` does: `64-bit, prefetchable memory at 0xfe000000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, prefetchable) = match *self {
            Self::Memory32 { prefetchable, .. } => ("32-bit", prefetchable),
            Self::MemoryBelow1Mib { prefetchable, .. } => ("low 1M", prefetchable),
            Self::Memory64 { prefetchable, .. } => ("64-bit", prefetchable),
            Self::Io { port } => return write!(f, "I/O ports at {port:#x}"),
            Self::Reserved { register } => {
                return write!(f, "reserved type, register {register:#x}");
            }
        };
        let how = if prefetchable { "" } else { "non-" };
        write!(
            f,
            "{kind}, {how}prefetchable memory at {:#x}",
            self.address()
        )
    }
}

impl fmt::Display for UnpairedBar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "BAR {} is the last one, and half of a 64-bit BAR",
            self.index
        )
    }
}

impl core::error::Error for UnpairedBar {}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn every_type_is_decoded() {
        let registers = [
            0xfebd_000c,
            0x1,
            0xc041,
            0xfe84_0000,
            0x000c_0002,
            0xfebf_0006,
        ];
        let bars = Bars::new(&registers).unwrap();
        let expected = [
            (
                0,
                Bar::Memory64 {
                    address: 0x1_febd_0000,
                    prefetchable: true,
                },
            ),
            (2, Bar::Io { port: 0xc040 }),
            (
                3,
                Bar::Memory32 {
                    address: 0xfe84_0000,
                    prefetchable: false,
                },
            ),
            (
                4,
                Bar::MemoryBelow1Mib {
                    address: 0xc_0000,
                    prefetchable: false,
                },
            ),
            (
                5,
                Bar::Reserved {
                    register: 0xfebf_0006,
                },
            ),
        ];
        assert_eq!(bars.iter().collect::<Vec<_>>(), expected);
        assert_eq!(bars.get(1), None);
        assert_eq!(bars.get(6), None);
        assert_eq!(
            bars.get(0).unwrap().to_string(),
            "64-bit, prefetchable memory at 0x1febd0000"
        );
    }

    #[test]
    fn the_upper_half_is_not_taken_for_a_bar() {
        // An upper half whose bits look like an I/O BAR, and like a 64-bit one.
        for upper in [0x1, 0x4] {
            let bars = Bars::new(&[0x4, upper]).unwrap();
            let address = u64::from(upper) << 32;
            let bar = Bar::Memory64 {
                address,
                prefetchable: false,
            };
            assert_eq!(bars.iter().collect::<Vec<_>>(), [(0, bar)]);
        }
    }

    #[test]
    fn a_64_bit_bar_without_an_upper_half_is_an_error() {
        assert_eq!(
            Bars::new(&[0, 0, 0, 0, 0, 4]),
            Err(UnpairedBar { index: 5 })
        );
        assert_eq!(Bars::new(&[4, 0, 4]), Err(UnpairedBar { index: 2 }));
        assert!(Bars::new(&[0, 0, 0, 0, 4, 4]).is_ok());
    }
}
