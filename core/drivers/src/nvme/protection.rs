//! Protection information: guards and tags of blocks, which the controller makes and checks (NVM
//! Command Set Specification 1.0, 5.2; its formats: 4.1.5.3).

/// How the protection information of a format is laid out, as an extended LBA format (ELBAF)
/// says. That of controllers without extended formats is all zeros: a guard of 16 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// The format (PIF).
    pub(super) format: u8,
    /// Bits of the storage tag (STS), which come off the reference tag.
    pub(super) storage_tag: u8,
}

/// What a transfer with protection information needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Protection {
    /// Bytes of it for each block, within the metadata.
    pub(super) len: u16,
    /// Bits of dword 12.
    pub(super) control: u32,
    /// Which bits of the LBA are the reference tag in dword 14.
    pub(super) tag_mask: u32,
}

/// In dword 12: the controller makes the protection information and takes it off again (PRACT).
pub(super) const PROTECT: u32 = 1 << 29;
/// In dword 12: it checks the guard (PRCHK).
const CHECK_GUARD: u32 = 1 << 28;

/// The format that says that another field has it (QPIF; NVM Command Set Specification 1.1,
/// 4.1.5.4).
const QUALIFIED: u8 = 3;
/// In the capabilities of protection information: there is that other field (QPIFS).
const HAS_QUALIFIED: u8 = 1 << 3;

impl Layout {
    /// Parses an ELBAF of 4 bytes and the namespace's protection capabilities (PIC).
    pub(super) const fn parse(pic: u8, elbaf: [u8; 4]) -> Self {
        let [low, high, ..] = elbaf;
        let format = high << 1 & 2 | low >> 7;
        Self {
            format: if format == QUALIFIED && pic & HAS_QUALIFIED != 0 {
                high >> 1 & 0xf
            } else {
                format
            },
            storage_tag: low & 0x7f,
        }
    }

    /// Bytes of the protection information, and bits of its storage tag and its reference tag
    /// together.
    const fn sizes(self) -> Option<(u16, u8)> {
        match self.format {
            0 => Some((8, 32)),
            1 => Some((16, 80)),
            2 => Some((16, 48)),
            _ => None,
        }
    }
}

impl Protection {
    /// Creates protection information of type 1 to 3 for `blocks` blocks. None where the driver
    /// can't tell the controller the tags.
    pub(super) fn new(kind: u8, layout: Layout, blocks: u64) -> Option<Self> {
        let (len, bits) = layout.sizes()?;
        let reference = u32::from(bits.checked_sub(layout.storage_tag)?);
        // Its upper bits would be in dwords 2 and 3, which stay zero.
        if reference > u32::BITS && blocks > 1 << u32::BITS {
            return None;
        }
        // The storage tag is above the reference tag, and zero.
        let whole = u32::MAX;
        let mask = 1_u32.checked_shl(reference);
        let mask = mask.map_or(whole, |bit| bit.wrapping_sub(1));
        Some(Self {
            len,
            control: PROTECT | CHECK_GUARD,
            tag_mask: match kind {
                1 | 2 => mask,
                // It has no reference tag.
                3 => 0,
                _ => return None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_read_from_their_bits() {
        let layout = |pic: u8, elbaf: u32| {
            let Layout {
                format,
                storage_tag,
            } = Layout::parse(pic, elbaf.to_le_bytes());
            (format, storage_tag)
        };
        assert_eq!(layout(0, 0), (0, 0));
        assert_eq!(layout(0, 1 << 7 | 16), (1, 16));
        assert_eq!(layout(0, 2 << 7 | 48), (2, 48));
        // What is set aside is not looked at.
        assert_eq!(layout(7, u32::MAX), (3, 127));
        // The qualified format, where there is one.
        assert_eq!(layout(8, 2 << 9 | 3 << 7 | 48), (2, 48));
        assert_eq!(layout(8, 2 << 9 | 1 << 7 | 16), (1, 16));
        assert_eq!(layout(8, u32::MAX), (15, 127));
    }

    #[test]
    fn the_reference_tag_is_what_the_storage_tag_leaves() {
        let made = |kind, format, storage_tag, blocks| {
            let layout = Layout {
                format,
                storage_tag,
            };
            Protection::new(kind, layout, blocks).map(|made| (made.len, made.tag_mask))
        };
        let many = 1 << 40;
        assert_eq!(made(1, 0, 0, many), Some((8, u32::MAX)));
        assert_eq!(made(2, 0, 12, many), Some((8, 0x000f_ffff)));
        assert_eq!(made(1, 0, 32, many), Some((8, 0)));
        assert_eq!(made(3, 0, 0, many), Some((8, 0)));
        assert_eq!(made(1, 2, 16, many), Some((16, u32::MAX)));
        assert_eq!(made(1, 1, 64, many), Some((16, 0xffff)));
        // A reference tag of 48 bits.
        assert_eq!(made(1, 2, 0, 1 << 32), Some((16, u32::MAX)));
        assert_eq!(made(1, 2, 0, (1 << 32) + 1), None);
        // More storage tag than there is room, and a format that is not known.
        assert_eq!(made(1, 0, 33, 1), None);
        assert_eq!(made(1, 3, 0, 1), None);
        // A type that is not known.
        assert_eq!(made(4, 0, 0, 1), None);
    }
}
