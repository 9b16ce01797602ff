//! The checksums of TCP and UDP in frames (RFC 1071; RFC 768, 9293, 791 and 8200).

use super::PartialChecksum;

/// Where TCP or UDP is in a frame, and what its checksum is of besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Transport {
    partial: PartialChecksum,
    /// Where it ends: a short frame is filled up.
    end: usize,
    /// The sum of the pseudo-header.
    pseudo: u32,
    /// A checksum of zero is none: that of UDP over IPv4.
    may_be_absent: bool,
}

/// Bytes before the packet in a frame.
const ETHERNET: usize = 14;
/// Bytes of the header of IPv4 without options, and of IPv6.
const IPV4: usize = 20;
const IPV6: usize = 40;

const TCP: u8 = 6;
const UDP: u8 = 17;

impl Transport {
    /// Finds TCP or UDP in a frame; none where there is none, or in a fragment.
    pub(super) fn find(frame: &[u8]) -> Option<Self> {
        let (head, packet) = frame.split_first_chunk::<ETHERNET>()?;
        match head {
            [.., 0x08, 0x00] => Self::in_ipv4(packet),
            [.., 0x86, 0xdd] => Self::in_ipv6(packet),
            _ => None,
        }
    }

    fn in_ipv4(packet: &[u8]) -> Option<Self> {
        let header = packet.first_chunk::<IPV4>()?;
        let [
            first,
            _,
            l0,
            l1,
            _,
            _,
            f0,
            f1,
            _,
            protocol,
            _,
            _,
            addresses @ ..,
        ] = header;
        let header_len = usize::from(first & 0xf).checked_mul(4)?;
        let total = usize::from(u16::from_be_bytes([*l0, *l1]));
        // Neither more fragments nor an offset.
        let is_whole = u16::from_be_bytes([*f0, *f1]) & 0x3fff == 0;
        if first >> 4 != 4 || header_len < IPV4 || total > packet.len() || !is_whole {
            return None;
        }
        let len = total.checked_sub(header_len)?;
        let found = Self::new(*protocol, header_len, len, addresses)?;
        let may_be_absent = *protocol == UDP;
        Some(Self {
            may_be_absent,
            ..found
        })
    }

    fn in_ipv6(packet: &[u8]) -> Option<Self> {
        let header = packet.first_chunk::<IPV6>()?;
        let [first, _, _, _, l0, l1, next, _, addresses @ ..] = header;
        let len = usize::from(u16::from_be_bytes([*l0, *l1]));
        if first >> 4 != 6 || IPV6.checked_add(len)? > packet.len() {
            return None;
        }
        Self::new(*next, IPV6, len, addresses)
    }

    /// Takes the `len` bytes behind the header of a packet.
    fn new(protocol: u8, header_len: usize, len: usize, addresses: &[u8]) -> Option<Self> {
        let (offset, least) = match protocol {
            TCP => (16, 20),
            UDP => (6, 8),
            _ => return None,
        };
        let start = ETHERNET.checked_add(header_len)?;
        if len < least {
            return None;
        }
        let pseudo = sum(addresses)
            .checked_add(u32::from(protocol))?
            .checked_add(u32::try_from(len).ok()?)?;
        Some(Self {
            partial: PartialChecksum {
                start: u16::try_from(start).ok()?,
                offset,
            },
            end: start.checked_add(len)?,
            pseudo,
            may_be_absent: false,
        })
    }

    /// Prepares a frame for a card that computes the checksum: its place gets the sum of the
    /// pseudo-header.
    pub(super) fn prepare(self, frame: &mut [u8]) -> Option<PartialChecksum> {
        let place = usize::from(self.partial.start).checked_add(self.partial.offset.into())?;
        let place = frame.get_mut(place..)?.first_chunk_mut()?;
        *place = fold(self.pseudo).to_be_bytes();
        Some(self.partial)
    }

    /// Tells whether the checksum of a frame is right.
    pub(super) fn is_right(self, frame: &[u8]) -> bool {
        let start = usize::from(self.partial.start);
        let Some(bytes) = frame.get(start..self.end) else {
            return false;
        };
        let place = bytes.get(self.partial.offset.into()..);
        let is_absent = place.and_then(<[u8]>::first_chunk) == Some(&[0, 0]);
        if is_absent && self.may_be_absent {
            return true;
        }
        fold(sum(bytes).saturating_add(self.pseudo)) == u16::MAX
    }
}

/// Returns the sum of all words of up to 64 KiB, which fits.
fn sum(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<2>();
    let words = words
        .iter()
        .map(|word| u32::from(u16::from_be_bytes(*word)));
    let last = rest.first().map_or(0, |byte| u32::from(*byte) << 8);
    words.fold(last, u32::wrapping_add)
}

/// Returns the sum in ones' complement.
fn fold(sum: u32) -> u16 {
    let [a, b, c, d] = sum.to_be_bytes();
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let (sum, carries) = high.overflowing_add(low);
    sum.wrapping_add(u16::from(carries))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    /// Returns a frame with UDP of 4 bytes over IPv4, whose checksum a network made: 10.0.2.15 to
    /// 10.0.2.3.
    fn udp() -> Vec<u8> {
        let mut frame = [0; 60].to_vec();
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14..18].copy_from_slice(&[0x45, 0, 0, 32]);
        frame[22..24].copy_from_slice(&[64, 17]);
        frame[26..34].copy_from_slice(&[10, 0, 2, 15, 10, 0, 2, 3]);
        frame[34..46].copy_from_slice(&[0, 53, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4]);
        // 0a00 + 020f + 0a00 + 0203 + 0011 + 000c, 0035 + 0035 + 000c + 0102 + 0304: 1cab in all.
        frame[40..42].copy_from_slice(&[0xe3, 0x54]);
        frame
    }

    #[test]
    fn the_checksum_of_udp_is_checked_and_prepared() {
        let mut frame = udp();
        let transport = Transport::find(&frame).unwrap();
        assert!(transport.is_right(&frame));
        frame[45] ^= 1;
        assert!(!transport.is_right(&frame));
        // Filling is no part of it.
        frame[45] ^= 1;
        frame[46] ^= 1;
        assert!(transport.is_right(&frame));
        let partial = transport.prepare(&mut frame).unwrap();
        assert_eq!((partial.start, partial.offset), (34, 6));
        assert_eq!(frame[40..42], [0x18, 0x2f]);
        frame[40..42].fill(0);
        assert!(transport.is_right(&frame));
    }

    #[test]
    fn what_is_cut_short_or_a_fragment_has_none() {
        let frame = udp();
        for len in 0..46 {
            assert_eq!(Transport::find(&frame[..len]), None, "{len}");
        }
        for (at, value) in [
            (14, 0x44),
            (14, 0x65),
            (14, 0x4f),
            (16, 1),
            (20, 0x20),
            (21, 1),
        ] {
            let mut frame = frame.clone();
            frame[at] = value;
            assert_eq!(Transport::find(&frame), None, "{at}");
        }
        let mut frame = frame;
        // The bit that says not to fragment is none.
        frame[20] = 0x40;
        assert!(Transport::find(&frame).is_some());
    }

    #[test]
    fn sums_carry_round() {
        assert_eq!(fold(0xffff_ffff), 0xffff);
        assert_eq!(fold(0x0001_ffff), 1);
        assert_eq!(fold(sum(&[0xff; 3])), 0xff00);
    }
}
