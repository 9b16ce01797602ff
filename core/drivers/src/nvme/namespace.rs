//! What a namespace says of itself (NVM Express Base Specification 1.4, 5.15.2.1; NVM Command Set
//! Specification 1.0, 4.1.5.1).

use vfio_core::mmio::Width as _;

use super::identify::Page;
use super::identity::Identity;
use super::protection::{Layout, Protection};

/// A namespace: blocks that are read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Namespace {
    pub(super) id: u32,
    /// That of the controller since its last start.
    pub(super) controller: Identity,
    /// The same, where blocks have no metadata that are not in their memory.
    pub(super) plain: Identity,
    pub(super) blocks: u64,
    pub(super) shift: u8,
    /// Bytes from one block to the next in memory.
    pub(super) stride: u32,
    /// Bytes of metadata of a block that are not in its memory.
    pub(super) separate: u32,
    /// Bits of dword 12 for every transfer.
    pub(super) control: u32,
    /// Which bits of the LBA are the reference tag of a transfer.
    pub(super) tag_mask: u32,
    capacity: u64,
    used: u64,
    format: u8,
    formats: [LbaFormat; FORMATS],
    format_count: u8,
    protection: u8,
    features: u8,
    deallocation: u8,
    guid: [u8; 16],
    eui64: [u8; 8],
}

/// A way to format a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LbaFormat {
    /// The size of a block in bytes, as the base-2 logarithm; 0 for a format that there is not.
    pub shift: u8,
    /// Bytes of metadata of each block.
    pub metadata: u16,
    /// How fast it is: 0 is best, 3 degraded.
    pub performance: u8,
}

/// How many formats a namespace can have.
const FORMATS: usize = 64;

/// Block sizes that can be used, as base-2 logarithms of bytes.
const SHIFTS: core::ops::RangeInclusive<u8> = 9..=16;

impl LbaFormat {
    /// Returns the size of a block in bytes, without metadata.
    ///
    /// None for a format that there is not, or whose size can't be counted.
    #[must_use]
    pub fn block_size(&self) -> Option<u64> {
        match self.shift {
            0 => None,
            shift => 1_u64.checked_shl(shift.into()),
        }
    }
}

/// What is wrong with what a namespace says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// It has no blocks: it is not there.
    Empty,
    /// A format that there is not, or whose blocks can't be used.
    Format { index: u8, shift: u8 },
    /// More bytes than can be counted.
    Size,
    /// Protection information that the driver does not know, or that the metadata have no room
    /// for.
    Protection,
}

/// Returns the number of a namespace's format, by the answer to Identify with CNS 0.
pub(super) fn format_index(page: &Page) -> u8 {
    let formatted = page.u8(26);
    // The upper bits count where there are more than 16 formats.
    match format_count(page) {
        0..=16 => formatted & 0xf,
        _ => formatted & 0xf | (formatted >> 1 & 0x30),
    }
}

/// Returns the type of a namespace's protection information, 1 to 3. 0 for none.
pub(super) fn protection_type(page: &Page) -> u8 {
    page.u8(29) & 7
}

/// Returns how many formats a namespace can have. There are those of all namespaces (NLBAF), and
/// its own (NULBAF; NVM Command Set Specification 1.0, 4.1.5.1).
pub(super) fn format_count(page: &Page) -> u8 {
    let of_all = page.u8(25).saturating_add(1);
    of_all.saturating_add(page.u8(82)).min(64)
}

/// Reads the formats that a namespace can have, and how many they are.
fn formats(page: &Page) -> ([LbaFormat; FORMATS], u8) {
    let count = format_count(page);
    let mut formats = [LbaFormat::default(); FORMATS];
    for (index, slot) in formats.iter_mut().take(count.into()).enumerate() {
        let at = index.saturating_mul(4).saturating_add(128);
        *slot = LbaFormat {
            metadata: page.u16(at),
            shift: page.u8(at.saturating_add(2)),
            performance: page.u8(at.saturating_add(3)) & 3,
        };
    }
    (formats, count)
}

/// Returns the format that a namespace has, of `formats`, and its number.
fn used_format(page: &Page, formats: &[LbaFormat]) -> Result<(u8, LbaFormat), Malformed> {
    let index = format_index(page);
    // Those that there are not have no size of a block.
    let used = formats.get(usize::from(index)).copied().unwrap_or_default();
    let shift = used.shift;
    if SHIFTS.contains(&shift) {
        Ok((index, used))
    } else {
        Err(Malformed::Format { index, shift })
    }
}

/// Returns the bytes of metadata of a block that follow it in memory, and those that are apart.
fn metadata(page: &Page, used: LbaFormat, protection: Protection) -> Result<(u32, u32), Malformed> {
    // Protection information that is all of the metadata is not transferred.
    let metadata = match used.metadata.checked_sub(protection.len) {
        None => return Err(Malformed::Protection),
        Some(0) => 0,
        Some(_) => u32::from(used.metadata),
    };
    let is_extended = page.u8(26) & 1 << 4 != 0;
    Ok(if is_extended {
        (metadata, 0)
    } else {
        (0, metadata)
    })
}

impl Namespace {
    /// Parses the answer of `controller` to Identify with CNS 0. `layout` is that of the protection
    /// information, if there is any.
    pub(super) fn parse(
        id: u32,
        controller: Identity,
        page: &Page,
        layout: Layout,
    ) -> Result<Self, Malformed> {
        let blocks = page.u64(0);
        if blocks == 0 {
            return Err(Malformed::Empty);
        }
        let (formats, format_count) = formats(page);
        let (format, used) = used_format(page, &formats)?;
        let bytes = blocks.checked_shl(used.shift.into());
        if bytes.is_none_or(|bytes| bytes >> used.shift != blocks) {
            return Err(Malformed::Size);
        }
        let kind = protection_type(page);
        let protection = match kind {
            0 => Protection::default(),
            kind => Protection::new(kind, layout, blocks).ok_or(Malformed::Protection)?,
        };
        let (inside, separate) = metadata(page, used, protection)?;
        let size = 1_u32.checked_shl(used.shift.into()).unwrap_or_default();
        Ok(Self {
            id,
            controller,
            plain: if separate == 0 {
                controller
            } else {
                Identity::NONE
            },
            blocks,
            shift: used.shift,
            stride: size.saturating_add(inside),
            separate,
            control: protection.control,
            tag_mask: protection.tag_mask,
            capacity: page.u64(8),
            used: page.u64(16),
            format,
            formats,
            format_count,
            protection: kind,
            features: page.u8(24),
            deallocation: page.u8(33),
            guid: page.bytes(104),
            eui64: page.bytes(120),
        })
    }

    /// Returns the identifier (NSID).
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Returns how many blocks there are (NSZE).
    #[must_use]
    pub const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Takes the namespace to have `blocks` blocks: commands are checked against that.
    ///
    /// With fewer, the others are out of reach. Those that it does not have the controller refuses.
    #[must_use]
    pub const fn with_blocks(self, blocks: u64) -> Self {
        Self { blocks, ..self }
    }

    /// Returns the size of a block in bytes, without metadata.
    #[must_use]
    pub fn block_size(&self) -> u32 {
        1_u32.checked_shl(self.shift.into()).unwrap_or_default()
    }

    /// Returns the bytes from one block to the next in memory.
    ///
    /// They are more than the size of a block where the format has metadata that follow each block.
    #[must_use]
    pub const fn stride(&self) -> u32 {
        self.stride
    }

    /// Returns the bytes of metadata of a block that are apart; 0 where there are none.
    ///
    /// They are in the memory of [`QueuePair::metadata`](super::QueuePair::metadata).
    #[must_use]
    pub const fn separate_metadata(&self) -> u32 {
        self.separate
    }

    /// Tells whether blocks have metadata apart
    /// ([`QueueOptions::metadata`](super::QueueOptions::metadata)).
    #[must_use]
    pub const fn has_separate_metadata(&self) -> bool {
        self.separate != 0
    }

    /// Returns the size in bytes, without metadata.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.blocks.saturating_mul(self.block_size().into())
    }

    /// Returns the reference tag of a transfer, where the namespace has one.
    #[inline(always)]
    pub(super) fn reference_tag(&self, lba: u64) -> u32 {
        u32::truncate(lba) & self.tag_mask
    }

    /// Returns how many blocks can be allocated at a time (NCAP).
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Returns how many blocks are allocated (NUSE).
    #[must_use]
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// Returns the formats that it can have.
    #[must_use]
    pub fn formats(&self) -> &[LbaFormat] {
        self.formats
            .get(..usize::from(self.format_count))
            .unwrap_or_default()
    }

    /// Returns the number of the format that it has.
    #[must_use]
    pub const fn format(&self) -> u8 {
        self.format
    }

    /// Returns the type of its protection information, 1 to 3; 0 for none.
    #[must_use]
    pub const fn protection(&self) -> u8 {
        self.protection
    }

    /// Tells whether it has less capacity than size.
    #[must_use]
    pub const fn is_thin(&self) -> bool {
        self.features & 1 != 0
    }

    /// Tells whether deallocated blocks read as zeros.
    #[must_use]
    pub const fn deallocated_reads_zero(&self) -> bool {
        self.deallocation & 7 == 1
    }

    /// Returns its globally unique identifier; zeros where it has none.
    #[must_use]
    pub const fn guid(&self) -> [u8; 16] {
        self.guid
    }

    /// Returns its identifier of the IEEE (EUI-64); zeros where it has none.
    #[must_use]
    pub const fn eui64(&self) -> [u8; 8] {
        self.eui64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;

    /// Returns a page with bytes at places.
    fn page(parts: &[(usize, &[u8])]) -> Page {
        let mut page = Page::zeroed();
        for (at, bytes) in parts {
            page.0[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        page
    }

    fn parse(parts: &[(usize, &[u8])], layout: Layout) -> Result<Namespace, Malformed> {
        Namespace::parse(7, Identity::NONE, &page(parts), layout)
    }

    /// Builds a namespace that uses format 1 of two, 512 and 4096 bytes.
    fn namespace(parts: &[(usize, &[u8])]) -> Result<Namespace, Malformed> {
        let mut all = std::vec![
            (0, &[0, 1, 0, 0, 0, 0, 0, 0][..]),
            (25, &[1]),
            (26, &[1]),
            (128, &[0, 0, 9, 0, 8, 0, 12, 1]),
        ];
        all.extend(parts);
        parse(&all, Layout::default())
    }

    #[test]
    fn a_namespace_has_the_format_that_it_says() {
        let found = namespace(&[]).unwrap();
        assert_eq!((found.block_size(), found.blocks()), (4096, 256));
        assert_eq!((found.size(), found.stride()), (1 << 20, 4096));
        assert_eq!(found.separate, 8);
        assert_eq!(found.formats().len(), 2);
        assert_eq!(found.formats()[0].shift, 9);
        // Metadata in line.
        let found = namespace(&[(26, &[0x11])]).unwrap();
        assert_eq!((found.stride(), found.separate), (4104, 0));
        // Protection information of type 1, which the controller makes.
        let found = namespace(&[(29, &[1])]).unwrap();
        assert_eq!((found.stride(), found.separate), (4096, 0));
        // PRACT, and the check of the guard.
        assert_eq!(found.control, 3 << 28);
        assert_eq!(found.tag_mask, u32::MAX);
    }

    #[test]
    fn protection_information_of_16_bytes_is_not_taken_for_other_metadata() {
        let of_16 = [
            (0, &[0, 1, 0, 0, 0, 0, 0, 0][..]),
            (128, &[16, 0, 12, 0]),
            (29, &[1]),
        ];
        let layout = |format| Layout {
            format,
            storage_tag: 0,
        };
        let found = parse(&of_16, layout(2)).unwrap();
        assert_eq!((found.stride(), found.separate), (4096, 0));
        // A guard of 16 bits leaves 8 bytes of other metadata, which are transferred.
        let found = parse(&of_16, layout(0)).unwrap();
        assert_eq!((found.stride(), found.separate), (4096, 16));
        assert_eq!(parse(&of_16, layout(3)), Err(Malformed::Protection));
        // 8 bytes have no room for it.
        let of_8 = [of_16[0], (128, &[8, 0, 12, 0]), of_16[2]];
        assert_eq!(parse(&of_8, layout(2)), Err(Malformed::Protection));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(namespace(&[(0, &[0; 8])]), Err(Malformed::Empty));
        // Format 2 of two.
        let shift = 0;
        let none = Err(Malformed::Format { index: 2, shift });
        assert_eq!(namespace(&[(26, &[2])]), none);
        for shift in [0, 8, 17, 64, 255] {
            let refused = Err(Malformed::Format { index: 1, shift });
            assert_eq!(namespace(&[(134, &[shift])]), refused);
        }
        // More bytes than can be counted.
        assert_eq!(namespace(&[(0, &[0xff; 8])]), Err(Malformed::Size));
        // A type of protection information that there is not.
        for kind in 4..=7 {
            let refused = namespace(&[(29, &[kind])]);
            assert_eq!(refused, Err(Malformed::Protection), "{kind}");
        }
        // 64 formats, of which the last is used.
        let found = namespace(&[(25, &[63]), (26, &[0x6f]), (128 + 63 * 4, &[0, 0, 9, 0])]);
        assert_eq!(found.unwrap().format(), 63);
        assert!(namespace(&[(25, &[0xff]), (26, &[0x6f])]).is_err());
        // The last of 16 of all namespaces, and the only one of its own.
        let found = namespace(&[
            (25, &[15]),
            (82, &[1]),
            (26, &[0x20]),
            (128 + 16 * 4, &[0, 0, 9, 0]),
        ]);
        assert_eq!(found.unwrap().format(), 16);
    }
}
