//! The tables of ACPI, as far as an image needs them: where configuration space is, and how the
//! machine is turned off (ACPI specification 6.5, section 5.2; PCI Firmware specification 3.3,
//! section 4.1.2).
//!
//! They are read through [`Physical`], checked by their sums, and never interpreted: what is
//! looked for in byte code is looked for by its name.

use core::ops::Range;

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Where tables are.
pub trait Physical {
    /// Returns the `len` bytes at `address`. `None` where there is nothing to be read.
    fn bytes(&self, address: u64, len: usize) -> Option<&[u8]>;
}

/// The tables of a machine.
#[derive(Clone, Copy, Debug)]
pub struct Tables<'p, P> {
    physical: &'p P,
    root: &'p [u8],
    /// Bytes of an address in the root.
    width: usize,
}

/// Where the configuration spaces of buses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Segment {
    /// Where those of bus 0 are, or would be.
    pub base: u64,
    /// The segment that the buses are in.
    pub number: u16,
    /// The first bus, which is no bridge's.
    pub first_bus: u8,
    /// The last bus.
    pub last_bus: u8,
}

/// Where configuration spaces are, one stretch after the other.
#[derive(Clone, Debug)]
pub struct Segments<'p> {
    /// Entries of the MCFG table.
    entries: &'p [u8],
    /// Or what the host bridge says.
    bridge: Option<u64>,
}

/// How a machine is turned off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Through the power management registers: their ports, and what is written there.
    Registers([(u16, u16); 2]),
    /// Through the sleep control register.
    Control {
        /// Where it is.
        address: u64,
        /// Whether that is an I/O port, and not an address of memory.
        is_port: bool,
        /// What is written there.
        value: u8,
    },
}

/// The longest table that is believed.
const TABLE_MOST: usize = 1 << 20;
/// The most tables that are looked at.
const TABLES_MOST: usize = 64;
/// Bytes of what each table begins with.
const HEAD: usize = 36;
/// Where firmware leaves the RSDP when nobody tells.
const BIOS: Range<u64> = 0xe_0000..0x10_0000;

/// The RSDP of version 2; version 1 ends with the address of the RSDT.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C, packed)]
struct Rsdp {
    signature: [u8; 8],
    _sum: u8,
    _oem: [u8; 6],
    revision: u8,
    rsdt: u32,
    _length: u32,
    xsdt: u64,
}

/// Bytes of version 1.
const RSDP_FIRST: usize = 20;

/// An entry of the MCFG table.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C, packed)]
struct McfgEntry {
    base: u64,
    segment: u16,
    first_bus: u8,
    last_bus: u8,
    _reserved: u32,
}

/// The FADT (signature `FACP`) of every version.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C, packed)]
struct Fixed {
    _before_control: [u8; 64],
    control_a: u32,
    control_b: u32,
    _before_flags: [u8; 40],
    flags: u32,
}

/// In its flags: the machine has no power management registers.
const REDUCED: u32 = 1 << 20;

/// Where, behind that, the sleep control register is named: in memory (0) or a port (1).
const SLEEP_CONTROL: usize = 244 - size_of::<Fixed>();

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C, packed)]
struct SleepControl {
    space: u8,
    _size: [u8; 3],
    address: u64,
}

const _: () = assert!(size_of::<Fixed>() == 116);

impl<'p, P: Physical> Tables<'p, P> {
    /// Follows the RSDP at `rsdp`, which is looked for where it is 0.
    #[must_use]
    pub fn find(physical: &'p P, rsdp: u64) -> Option<Self> {
        let at = if rsdp == 0 {
            let is_there = |at: &u64| physical.bytes(*at, 8) == Some(b"RSD PTR ");
            BIOS.step_by(16).find(is_there)?
        } else {
            rsdp
        };
        let first = physical.bytes(at, RSDP_FIRST)?;
        if first.get(..8) != Some(b"RSD PTR ") || sum(first) != 0 {
            return None;
        }
        let whole = physical.bytes(at, size_of::<Rsdp>())?;
        let (rsdp, _) = Rsdp::ref_from_prefix(whole).ok()?;
        if rsdp.revision >= 2
            && let Some(root) = table(physical, rsdp.xsdt, b"XSDT")
        {
            return Some(Self {
                physical,
                root,
                width: 8,
            });
        }
        Some(Self {
            physical,
            root: table(physical, rsdp.rsdt.into(), b"RSDT")?,
            width: 4,
        })
    }

    /// Returns the table of this signature, whole.
    #[must_use]
    pub fn table(&self, signature: &[u8; 4]) -> Option<&'p [u8]> {
        let mut at = HEAD;
        for _ in 0..TABLES_MOST {
            let address = field(self.root, at, self.width)?;
            if let Some(table) = table(self.physical, address, signature) {
                return Some(table);
            }
            at = at.saturating_add(self.width);
        }
        None
    }

    /// Returns where configuration spaces are: as the MCFG table says. Without one, as the host
    /// bridge says in byte code (`_CBA`), which has all buses of segment 0.
    #[must_use]
    pub fn segments(&self) -> Segments<'p> {
        match self.table(b"MCFG") {
            Some(table) => Segments {
                entries: table.get(HEAD + 8..).unwrap_or_default(),
                bridge: None,
            },
            None => Segments {
                entries: &[],
                bridge: self.byte_code().and_then(host_bridge),
            },
        }
    }

    /// Returns the byte code that describes the machine: the DSDT.
    fn byte_code(&self) -> Option<&'p [u8]> {
        let fixed = self.table(b"FACP")?;
        let address = match field(fixed, 140, 8) {
            Some(address) if address != 0 => address,
            _ => field(fixed, 40, 4)?,
        };
        table(self.physical, address, b"DSDT")
    }
}

impl Iterator for Segments<'_> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        if let Some(base) = self.bridge.take() {
            return Some(Segment::all(base));
        }
        let (entry, rest) = McfgEntry::ref_from_prefix(self.entries).ok()?;
        self.entries = rest;
        Some(Segment {
            base: entry.base,
            number: entry.segment,
            first_bus: entry.first_bus,
            last_bus: entry.last_bus,
        })
    }
}

impl Segment {
    /// Describes all buses of segment 0, those of bus 0 at `base`.
    #[must_use]
    pub const fn all(base: u64) -> Self {
        Self {
            base,
            number: 0,
            first_bus: 0,
            last_bus: u8::MAX,
        }
    }
}

impl Power {
    /// Returns how the machine whose RSDP is at `rsdp` is turned off.
    #[must_use]
    pub fn find<P: Physical>(physical: &P, rsdp: u64) -> Option<Self> {
        let tables = Tables::find(physical, rsdp)?;
        let table = tables.table(b"FACP")?;
        let (fixed, rest) = Fixed::ref_from_prefix(table).ok()?;
        let [first, second] = sleep_types(tables.byte_code()?)?;
        if fixed.flags & REDUCED != 0 {
            let (sleep, _) = SleepControl::ref_from_prefix(rest.get(SLEEP_CONTROL..)?).ok()?;
            return Some(Self::Control {
                address: sleep.address,
                is_port: match sleep.space {
                    0 => false,
                    1 => true,
                    _ => return None,
                },
                value: (first & 7) << 2 | 1 << 5,
            });
        }
        let register = |port: u32, kind: u8| {
            let port = u16::try_from(port).ok()?;
            Some((port, u16::from(kind & 7) << 10 | 1 << 13))
        };
        Some(Self::Registers([
            register(fixed.control_a, first)?,
            register(fixed.control_b, second)?,
        ]))
    }
}

/// Returns the `len` bytes at `at` of a table, as a number.
fn field(table: &[u8], at: usize, len: usize) -> Option<u64> {
    number(table.get(at..)?.get(..len)?)
}

/// Returns the byte code behind a name.
fn behind<'c>(code: &'c [u8], name: &[u8; 4]) -> Option<&'c [u8]> {
    let at = code.windows(4).position(|bytes| bytes == name)?;
    code.get(at.checked_add(4)?..)
}

/// Returns the value of `_CBA` in byte code: `Method (_CBA) { Return (base) }`.
fn host_bridge(code: &[u8]) -> Option<u64> {
    match behind(code, b"_CBA")? {
        [_, 0xa4, 0x0c, rest @ ..] => field(rest, 0, 4),
        [_, 0xa4, 0x0e, rest @ ..] => field(rest, 0, 8),
        _ => None,
    }
}

/// Returns the `_S5` object of byte code: `Name (_S5, Package () { first, second, ... })`.
fn sleep_types(code: &[u8]) -> Option<[u8; 2]> {
    let mut code = behind(code, b"_S5_")?;
    let (opcode, rest) = code.split_first()?;
    // A package, its length, and how many elements it has.
    let (length, _) = rest.split_first()?;
    if *opcode != 0x12 {
        return None;
    }
    code = rest.get(usize::from(*length >> 6).checked_add(2)?..)?;
    let mut types = [0; 2];
    for kind in &mut types {
        let (first, rest) = code.split_first()?;
        (*kind, code) = match *first {
            0x0a => {
                let (byte, rest) = rest.split_first()?;
                (*byte, rest)
            }
            0 | 1 => (*first, rest),
            _ => return None,
        };
    }
    Some(types)
}

/// Returns the whole table at `address`, if it is of this signature and its bytes add up.
fn table<'p, P: Physical>(physical: &'p P, address: u64, signature: &[u8; 4]) -> Option<&'p [u8]> {
    let head = physical.bytes(address, HEAD)?;
    let (name, rest) = head.split_first_chunk::<4>()?;
    if name != signature {
        return None;
    }
    let len = usize::try_from(number(rest.get(..4)?)?).ok()?;
    if !(HEAD..=TABLE_MOST).contains(&len) {
        return None;
    }
    let table = physical.bytes(address, len)?;
    (sum(table) == 0).then_some(table)
}

/// Adds up the bytes of a table, which must be 0: 8 at a time, for tables are long.
fn sum(bytes: &[u8]) -> u8 {
    const EVEN: u64 = 0x00ff_00ff_00ff_00ff;
    let (words, rest) = bytes.as_chunks::<8>();
    let lanes = words.iter().fold(0_u64, |lanes, word| {
        let word = u64::from_le_bytes(*word);
        // Of each lane only the low byte counts.
        (lanes & EVEN)
            .wrapping_add(word & EVEN)
            .wrapping_add(word >> 8 & EVEN)
    });
    // The highest lane is then what all four add up to.
    let lanes = lanes.wrapping_mul(0x0001_0001_0001_0001);
    let [.., sum, _] = lanes.to_le_bytes();
    rest.iter().fold(sum, |sum, byte| sum.wrapping_add(*byte))
}

/// Returns a little-endian number of up to 8 bytes.
fn number(bytes: &[u8]) -> Option<u64> {
    let mut whole = [0; 8];
    whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(u64::from_le_bytes(whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Memory from address 0x1000 on.
    struct Memory(Vec<u8>);

    impl Physical for Memory {
        fn bytes(&self, address: u64, len: usize) -> Option<&[u8]> {
            let start = usize::try_from(address.checked_sub(0x1000)?).ok()?;
            self.0.get(start..start.checked_add(len)?)
        }
    }

    impl Memory {
        /// Adds a table; where it is.
        fn add(&mut self, signature: &[u8; 4], body: &[u8]) -> u64 {
            let at = 0x1000 + self.0.len();
            let mut table = [signature.as_slice(), &[0; HEAD - 4], body].concat();
            let len = u32::try_from(table.len()).unwrap();
            table[4..8].copy_from_slice(&len.to_le_bytes());
            table[9] = sum(&table).wrapping_neg();
            self.0.extend(table);
            u64::try_from(at).unwrap()
        }

        /// Adds what leads to tables, by 8 bytes each; where it starts.
        fn root(&mut self, tables: &[u64]) -> u64 {
            let body: Vec<u8> = tables.iter().flat_map(|at| at.to_le_bytes()).collect();
            let root = self.add(b"XSDT", &body);
            let at = 0x1000 + self.0.len();
            let mut rsdp = [
                b"RSD PTR ".as_slice(),
                &[0; 7],
                &[2],
                &[0; 8],
                &root.to_le_bytes(),
                &[0; 4],
            ]
            .concat();
            rsdp[8] = sum(&rsdp[..RSDP_FIRST]).wrapping_neg();
            self.0.extend(rsdp);
            u64::try_from(at).unwrap()
        }
    }

    /// Returns the fixed table of a machine with its registers at 0x604, or one without such.
    fn fixed(code: u64, is_reduced: bool) -> Vec<u8> {
        let mut body = std::vec![0; 268 - HEAD];
        body[140 - HEAD..][..8].copy_from_slice(&code.to_le_bytes());
        body[64 - HEAD..][..2].copy_from_slice(&[0x04, 0x06]);
        if is_reduced {
            body[114 - HEAD] = 0x10;
            body[244 - HEAD] = 1;
            body[248 - HEAD..][..2].copy_from_slice(&[0x10, 0x06]);
        }
        body
    }

    const CODE: &[u8] =
        b"\x08_S5_\x12\x06\x04\x0a\x05\x0a\x06\0\0 \x14\x0f_CBA\0\xa4\x0e\0\0\0\xe0\0\0\0\0";

    #[test]
    fn configuration_space_is_where_the_table_says() {
        let mut memory = Memory(Vec::new());
        let segments = [
            (0xb000_0000_u64, 0, 0, 0x7f),
            (0xb000_0000, 0, 0x80, 0xff),
            (0x8_0000_0000, 1, 0, 0),
        ]
        .map(|(base, number, first_bus, last_bus)| Segment {
            base,
            number,
            first_bus,
            last_bus,
        });
        let mut body = std::vec![0; 8];
        for segment in segments {
            body.extend(segment.base.to_le_bytes());
            body.extend(segment.number.to_le_bytes());
            body.extend([segment.first_bus, segment.last_bus, 0, 0, 0, 0]);
        }
        let table = memory.add(b"MCFG", &body);
        let rsdp = memory.root(&[table]);
        let tables = Tables::find(&memory, rsdp).unwrap();
        assert!(tables.segments().eq(segments));
        assert_eq!(Power::find(&memory, rsdp), None);
    }

    #[test]
    fn without_that_table_it_is_where_the_byte_code_says() {
        let mut memory = Memory(Vec::new());
        let code = memory.add(b"DSDT", CODE);
        let fixed = memory.add(b"FACP", &fixed(code, false));
        let rsdp = memory.root(&[fixed]);
        let tables = Tables::find(&memory, rsdp).unwrap();
        assert!(tables.segments().eq([Segment::all(0xe000_0000)]));
        let off = [(0x604, 5 << 10 | 1 << 13), (0, 6 << 10 | 1 << 13)];
        assert_eq!(Power::find(&memory, rsdp), Some(Power::Registers(off)));
    }

    #[test]
    fn a_machine_without_registers_is_turned_off_by_sleep_control() {
        let mut memory = Memory(Vec::new());
        let code = memory.add(b"DSDT", CODE);
        let fixed = memory.add(b"FACP", &fixed(code, true));
        let rsdp = memory.root(&[fixed]);
        let value = 5 << 2 | 1 << 5;
        let control = Power::Control {
            address: 0x610,
            is_port: true,
            value,
        };
        assert_eq!(Power::find(&memory, rsdp), Some(control));
    }

    #[test]
    fn bytes_that_are_wrong_are_no_table() {
        let mut memory = Memory(Vec::new());
        let code = memory.add(b"DSDT", CODE);
        let fixed = memory.add(b"FACP", &fixed(code, false));
        let rsdp = memory.root(&[fixed, 0, u64::MAX]);
        for at in 0..memory.0.len() {
            for bits in [0x01, 0x80, 0xff] {
                memory.0[at] ^= bits;
                // Whatever it is, it ends.
                if let Some(tables) = Tables::find(&memory, rsdp) {
                    let _ = tables.segments().count();
                    let _ = Power::find(&memory, rsdp);
                }
                memory.0[at] ^= bits;
            }
        }
        memory.0[5] ^= 1;
        assert_eq!(Power::find(&memory, rsdp), None);
        assert!(Tables::find(&memory, 0).is_none());
        assert!(Tables::find(&memory, u64::MAX).is_none());
    }
}
