//! The header before each frame (Virtual I/O Device Specification 1.2, section 5.1.6).

use crate::nic::{FrameChecksum, PartialChecksum};

/// Bytes of a header, from version 1 on.
pub(super) const HEADER: usize = 12;
/// The same, as the device counts.
pub(super) const HEADER_32: u32 = 12;

/// In the flags: the checksum is yet to be computed.
const NEEDS_CSUM: u8 = 1;
/// In the flags: the checksum is right.
const DATA_VALID: u8 = 2;

/// A header, read once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    flags: u8,
    partial: PartialChecksum,
    /// How many buffers the frame is in, where they are merged.
    pub(super) num_buffers: u16,
}

impl Header {
    /// Reads a header. There are no segments to be told of: nobody accepted any.
    pub(super) const fn parse(bytes: [u8; HEADER]) -> Self {
        let [flags, _, _, _, _, _, s0, s1, o0, o1, n0, n1] = bytes;
        Self {
            flags,
            partial: PartialChecksum {
                start: u16::from_le_bytes([s0, s1]),
                offset: u16::from_le_bytes([o0, o1]),
            },
            num_buffers: u16::from_le_bytes([n0, n1]),
        }
    }

    /// Returns what it says of the checksum of a frame of `len` bytes; none where that makes no
    /// sense.
    pub(super) fn checksum(&self, len: usize) -> Option<FrameChecksum> {
        if self.flags & NEEDS_CSUM != 0 {
            let partial = self.partial;
            let is_within = partial.is_within(len);
            return is_within.then_some(FrameChecksum::Partial(partial));
        }
        Some(if self.flags & DATA_VALID != 0 {
            FrameChecksum::Valid
        } else {
            FrameChecksum::Unknown
        })
    }
}

/// Returns the header of a frame that is sent: its first 8 bytes and the rest, as numbers.
pub(super) fn emit(partial: Option<PartialChecksum>) -> (u64, u32) {
    let Some(PartialChecksum { start, offset }) = partial else {
        return (0, 0);
    };
    let first = u64::from(NEEDS_CSUM) | u64::from(start) << 48;
    (first, u32::from(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_is_written() {
        let partial = PartialChecksum {
            start: 0x1234,
            offset: 0x5678,
        };
        let (first, rest) = emit(Some(partial));
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&first.to_le_bytes());
        bytes[8..].copy_from_slice(&rest.to_le_bytes());
        let header = Header::parse(bytes);
        let end = 0x1234 + 0x5678 + 2;
        assert_eq!(header.checksum(end), Some(FrameChecksum::Partial(partial)));
        assert_eq!(header.checksum(end - 1), None);
        assert_eq!(header.num_buffers, 0);
    }

    #[test]
    fn flags_say_whether_a_checksum_was_checked() {
        let mut bytes = [0; HEADER];
        assert_eq!(
            Header::parse(bytes).checksum(60),
            Some(FrameChecksum::Unknown)
        );
        bytes[0] = DATA_VALID;
        assert_eq!(
            Header::parse(bytes).checksum(60),
            Some(FrameChecksum::Valid)
        );
        bytes[0] = DATA_VALID | NEEDS_CSUM;
        bytes[6] = 60;
        assert_eq!(Header::parse(bytes).checksum(61), None);
    }
}
