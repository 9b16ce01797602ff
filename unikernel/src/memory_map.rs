//! `hvm_start_info`: what a PVH hypervisor tells (Xen, xen/include/public/arch-x86/hvm/start_info.h).

use core::fmt;
use core::ops::Range;

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// What the hypervisor tells, as far as it is used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartInfo {
    /// Where the command line is, or 0.
    pub command_line: u64,
    /// Where ACPI's RSDP is, or 0.
    pub rsdp: u64,
    /// Where the memory map is.
    pub memory_map: u64,
    /// How many entries it has.
    pub entries: u32,
}

/// Why that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StartError {
    /// It is shorter than its structure.
    Short,
    /// It does not begin with `xEn3`.
    Magic {
        /// What it begins with.
        magic: u32,
    },
    /// It is of version 0, which has no memory map.
    NoMemoryMap,
    /// It lies where the image is.
    InTheWay {
        /// Where.
        address: u64,
    },
}

/// The structure, version 1.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Raw {
    magic: u32,
    version: u32,
    flags: u32,
    nr_modules: u32,
    modlist_paddr: u64,
    cmdline_paddr: u64,
    rsdp_paddr: u64,
    memmap_paddr: u64,
    memmap_entries: u32,
    reserved: u32,
}

/// A stretch of the machine's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, KnownLayout, Unaligned)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(C)]
pub struct Stretch {
    address: [u8; 8],
    size: [u8; 8],
    kind: [u8; 4],
    reserved: [u8; 4],
}

/// The machine's memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MemoryMap<'a> {
    stretches: &'a [Stretch],
}

/// A stretch of memory that is free to be used (`XEN_HVM_MEMMAP_TYPE_RAM`).
const RAM: u32 = 1;

/// More entries than any machine has.
const ENTRIES_MOST: u32 = 128;

impl StartInfo {
    /// Bytes of the structure.
    pub const LEN: usize = size_of::<Raw>();

    /// Reads the structure.
    ///
    /// # Errors
    /// [`StartError`]
    pub fn parse(bytes: &[u8]) -> Result<Self, StartError> {
        const MAGIC: u32 = 0x336e_c578;
        let (raw, _) = Raw::read_from_prefix(bytes).map_err(|_| StartError::Short)?;
        if raw.magic != MAGIC {
            return Err(StartError::Magic { magic: raw.magic });
        }
        if raw.version == 0 {
            return Err(StartError::NoMemoryMap);
        }
        Ok(Self {
            command_line: raw.cmdline_paddr,
            rsdp: raw.rsdp_paddr,
            memory_map: raw.memmap_paddr,
            entries: raw.memmap_entries,
        })
    }

    /// Bytes of the memory map, of which no more than 128 entries are read.
    #[must_use]
    pub fn memory_map_len(&self) -> usize {
        let entries = usize::try_from(self.entries.min(ENTRIES_MOST)).unwrap_or(0);
        entries.saturating_mul(size_of::<Stretch>())
    }
}

impl Stretch {
    /// Returns where it is, in bytes.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        let start = u64::from_le_bytes(self.address);
        start..start.saturating_add(u64::from_le_bytes(self.size))
    }

    /// Tells whether it is memory that is free to be used.
    #[must_use]
    pub fn is_ram(&self) -> bool {
        u32::from_le_bytes(self.kind) == RAM
    }
}

impl<'a> MemoryMap<'a> {
    /// Creates the map in `bytes`. An entry that is cut off is left out.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        let (chunks, _) = bytes.as_chunks::<{ size_of::<Stretch>() }>();
        let whole = chunks.as_flattened();
        Self {
            stretches: <[Stretch]>::ref_from_bytes(whole).unwrap_or_default(),
        }
    }

    /// Its stretches, in its order.
    pub fn iter(&self) -> impl Iterator<Item = Stretch> + use<'a> {
        self.stretches.iter().copied()
    }

    /// Tells whether all of `range` is memory.
    #[must_use]
    pub fn has(&self, range: Range<u64>) -> bool {
        let mut at = range.start;
        // In any order: each round gets as far as one stretch, and some stretch ends the last.
        for _ in self.stretches {
            let reaches = |stretch: &Stretch| stretch.is_ram() && stretch.range().contains(&at);
            match self.iter().find(reaches) {
                Some(stretch) => at = stretch.range().end,
                None => break,
            }
            if at >= range.end {
                break;
            }
        }
        at >= range.end
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("the start information is cut short"),
            Self::Magic { magic } => write!(f, "no start information: it begins with {magic:#x}"),
            Self::NoMemoryMap => f.write_str("the start information has no memory map"),
            Self::InTheWay { address } => {
                write!(f, "the start information at {address:#x} lies in the image")
            }
        }
    }
}

impl core::error::Error for StartError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn map(stretches: &[(u64, u64, u32)]) -> Vec<u8> {
        let bytes = stretches.iter().flat_map(|(address, size, kind)| {
            [
                address.to_le_bytes(),
                size.to_le_bytes(),
                u64::from(*kind).to_le_bytes(),
            ]
            .concat()
        });
        bytes.collect()
    }

    #[test]
    fn memory_is_found_across_stretches() {
        let bytes = map(&[
            (0x2000, 0x1000, 1),
            (0, 0x1000, 1),
            (0x1000, 0x1000, 1),
            (0x3000, 0x1000, 2),
        ]);
        let map = MemoryMap::new(&bytes);
        assert!(map.has(0..0x3000));
        assert!(map.has(0xfff..0x2001));
        assert!(!map.has(0..0x3001));
        assert!(!map.has(0x3000..0x3001));
    }

    #[test]
    fn a_map_that_is_cut_off_or_overflows_ends() {
        let mut bytes = map(&[(0x1000, u64::MAX, 1), (0, 0, 1)]);
        bytes.pop();
        let map = MemoryMap::new(&bytes);
        assert_eq!(map.iter().count(), 1);
        assert!(map.has(0x1000..u64::MAX));
        assert!(!map.has(0..1));
    }

    #[test]
    fn start_information_is_checked() {
        let mut bytes = [0; 56];
        assert_eq!(StartInfo::parse(&bytes[..55]), Err(StartError::Short));
        assert_eq!(
            StartInfo::parse(&bytes),
            Err(StartError::Magic { magic: 0 })
        );
        bytes[..4].copy_from_slice(&0x336e_c578_u32.to_le_bytes());
        assert_eq!(StartInfo::parse(&bytes), Err(StartError::NoMemoryMap));
        bytes[4] = 1;
        bytes[48] = 200;
        let start = StartInfo::parse(&bytes).unwrap();
        assert_eq!(start.memory_map_len(), 128 * 24);
    }
}
