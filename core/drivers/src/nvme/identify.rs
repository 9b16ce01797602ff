//! What a controller says of itself (NVM Express Base Specification 1.4, 5.15.2.2).

use core::fmt;

use super::registers::Version;

/// A page that a controller filled, copied out of its reach.
pub(super) struct Page(pub(super) [u8; Page::LEN]);

/// A controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ControllerInfo {
    /// The vendor's PCI number.
    pub vendor: u16,
    /// The subsystem vendor's PCI number.
    pub subsystem_vendor: u16,
    /// The serial number.
    pub serial: Text<20>,
    /// The model.
    pub model: Text<40>,
    /// The revision of the firmware.
    pub firmware: Text<8>,
    /// The controller's number in its subsystem.
    pub id: u16,
    /// The version of the specification that it keeps to.
    pub version: Version,
    /// The longest transfer in pages of 4 KiB, as the base-2 logarithm; 0 for no limit.
    pub transfer_shift: u8,
    /// Optional admin commands (OACS), as bits.
    pub admin_commands: u16,
    /// How many commands can be aborted at a time.
    pub aborts: u16,
    /// How many requests for events can be outstanding.
    pub event_requests: u16,
    /// Which events are optional and supported (OAES), as bits.
    pub events: u32,
    /// What the controller is like (CTRATT), as bits.
    pub attributes: u32,
    /// How many entries the error log has.
    pub error_log: u16,
    /// Optional commands (ONCS), as bits.
    pub commands: u16,
    /// Whether there is a cache that a flush empties.
    pub has_write_cache: bool,
    /// How many namespaces there can be.
    pub namespaces: u32,
    /// How long the shutdown takes, in microseconds; 0 where it is not said.
    pub shutdown_us: u32,
    /// The smallest entries of a submission queue, as the base-2 logarithm of bytes.
    pub submission_shift: u8,
    /// The smallest entries of a completion queue, as the base-2 logarithm of bytes.
    pub completion_shift: u8,
}

/// A text of ASCII characters, padded with spaces.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Text<const N: usize>([u8; N]);

impl Page {
    /// Bytes.
    pub(super) const LEN: usize = 4096;

    pub(super) const fn zeroed() -> Self {
        Self([0; Self::LEN])
    }

    /// Returns the bytes at `at`. Zeros where there are none.
    pub(super) fn bytes<const L: usize>(&self, at: usize) -> [u8; L] {
        let rest = self.0.get(at..).unwrap_or_default();
        rest.first_chunk().copied().unwrap_or([0; L])
    }

    pub(super) fn u8(&self, at: usize) -> u8 {
        let [byte] = self.bytes(at);
        byte
    }

    pub(super) fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes(at))
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes(at))
    }

    pub(super) fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes(at))
    }
}

impl ControllerInfo {
    /// Parses the answer of a controller to Identify with CNS 1.
    pub(super) fn parse(page: &Page) -> Self {
        let plus_one = |at| u16::from(page.u8(at)).saturating_add(1);
        Self {
            vendor: page.u16(0),
            subsystem_vendor: page.u16(2),
            serial: Text(page.bytes(4)),
            model: Text(page.bytes(24)),
            firmware: Text(page.bytes(64)),
            transfer_shift: page.u8(77),
            id: page.u16(78),
            version: Version(page.u32(80)),
            shutdown_us: page.u32(88),
            events: page.u32(92),
            attributes: page.u32(96),
            admin_commands: page.u16(256),
            aborts: plus_one(258),
            event_requests: plus_one(259),
            error_log: plus_one(262),
            submission_shift: page.u8(512) & 0xf,
            completion_shift: page.u8(513) & 0xf,
            namespaces: page.u32(516),
            commands: page.u16(520),
            has_write_cache: page.u8(525) & 1 != 0,
        }
    }

    /// Tells whether namespaces can be formatted.
    #[must_use]
    pub const fn can_format(&self) -> bool {
        self.admin_commands & 1 << 1 != 0
    }

    /// Tells whether formats can have longer guards, and storage tags (CTRATT.ELBAS).
    ///
    /// Longer guards have more than 16 bits.
    #[must_use]
    pub const fn has_extended_formats(&self) -> bool {
        self.attributes & 1 << 15 != 0
    }

    /// Tells whether doorbells can be in memory.
    #[must_use]
    pub const fn has_shadow_doorbells(&self) -> bool {
        self.admin_commands & 1 << 8 != 0
    }

    /// Tells whether blocks can be deallocated (dataset management).
    #[must_use]
    pub const fn can_deallocate(&self) -> bool {
        self.commands & 1 << 2 != 0
    }

    /// Tells whether blocks can be zeroed without zeros being sent.
    #[must_use]
    pub const fn can_write_zeroes(&self) -> bool {
        self.commands & 1 << 3 != 0
    }

    /// Returns the longest transfer in bytes; none where there is no limit.
    #[must_use]
    pub fn longest_transfer(&self) -> Option<usize> {
        let pages = match self.transfer_shift {
            0 => return None,
            shift => 1_usize.checked_shl(shift.into()),
        };
        let len = pages.and_then(|pages| pages.checked_mul(4096));
        Some(len.unwrap_or(usize::MAX))
    }
}

impl<const N: usize> Text<N> {
    /// Returns the bytes without padding. The device may have put anything there.
    #[must_use]
    pub const fn bytes(&self) -> &[u8] {
        unpadded(&self.0)
    }

    /// Returns the characters without padding. Only printable ASCII is kept.
    pub fn chars(&self) -> impl Iterator<Item = char> {
        let printable = |byte: &&u8| (b' '..=b'~').contains(*byte);
        let text = self.bytes().iter().filter(printable);
        text.map(|byte| char::from(*byte))
    }
}

/// Returns a text without the spaces and zeros at its end.
const fn unpadded(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | 0] = text {
        text = rest;
    }
    text
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self([b' '; N])
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        self.chars().try_for_each(|char| f.write_char(char))
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::format;
    use std::string::ToString;

    #[test]
    fn texts_lose_their_padding_and_what_is_not_printable() {
        let text = Text(*b"QEMU \x1b[2JCtrl\0   ");
        assert_eq!(text.bytes(), b"QEMU \x1b[2JCtrl");
        assert_eq!(text.to_string(), "QEMU [2JCtrl");
        assert_eq!(format!("{:?}", Text(*b"  ")), "\"\"");
    }

    #[test]
    fn a_limit_of_transfers_that_can_not_be_counted_is_none() {
        for (shift, bytes) in [
            (5, 128 << 10),
            (51, 1 << 63),
            (52, usize::MAX),
            (255, usize::MAX),
        ] {
            let mut page = Page::zeroed();
            page.0[77] = shift;
            let info = ControllerInfo::parse(&page);
            assert_eq!(info.longest_transfer(), Some(bytes), "{shift}");
        }
    }
}
