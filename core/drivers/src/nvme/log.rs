//! Log pages and events (NVM Express Base Specification 1.4, 5.14.1 and 5.2).

use core::fmt;

use super::identify::Page;
use super::status::Status;

/// An entry of the error log: why a command failed, or why something else did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ErrorEntry {
    /// Which error it was, counted from 1 over the life of the controller.
    pub count: u64,
    /// The submission queue; none where the error is not that of a command.
    pub queue: Option<u16>,
    /// The command's identifier; none where the error is not that of a command.
    pub command: Option<u16>,
    /// How the command ended; none where the log does not say.
    pub status: Option<Status>,
    /// Where in the command the error is: the byte, and the bit in it above 8 bits; none where it
    /// is not in the command.
    pub location: Option<u16>,
    /// The first block that failed.
    pub lba: u64,
    /// The namespace.
    pub namespace: u32,
}

/// The state of health of a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Health {
    /// What to warn of, as bits: spare space, temperature, reliability, read only, memory backup.
    pub warnings: u8,
    /// Kelvin.
    pub temperature: u16,
    /// How much of the spare space is left, in percent.
    pub spare: u8,
    /// Below which of these the controller warns.
    pub spare_threshold: u8,
    /// How much of its life the vendor thinks is used, in percent; it can be more than 100.
    pub used: u8,
    /// Read by the host, in units of 512,000 bytes.
    pub data_read: u128,
    /// Written by the host, in units of 512,000 bytes.
    pub data_written: u128,
    /// How often power came.
    pub power_cycles: u128,
    /// Hours with power.
    pub power_on_hours: u128,
    /// How often power went without a shutdown.
    pub unsafe_shutdowns: u128,
    /// How often data could not be read or written whole.
    pub media_errors: u128,
    /// How many entries the error log had over the life of the controller.
    pub error_count: u128,
}

/// Something that a controller tells of its own accord.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Event {
    /// What it is about.
    pub kind: EventKind,
    /// What happened: a number whose meaning depends on the kind.
    pub info: u8,
    /// The log page that says more, and whose reading lets the next event of the kind come.
    pub log_page: u8,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum EventKind {
    /// An error that is not that of a command.
    Error,
    /// Health: reliability, temperature, spare space.
    Health,
    /// Something to know: a namespace changed, say.
    Notice,
    /// The NVM command set's own.
    CommandSet,
    /// The vendor's own.
    Vendor,
    /// A kind that the specification sets aside, 3 to 5.
    Reserved(u8),
}

impl ErrorEntry {
    /// Bytes.
    pub(super) const LEN: usize = 64;

    /// Returns the entry at `at` of a page, where there is one.
    pub(super) fn parse(page: &Page, at: usize) -> Option<Self> {
        let field = |offset: usize| at.saturating_add(offset);
        let some = |number: u16| (number != u16::MAX).then_some(number);
        let count = page.u64(at);
        (count != 0).then(|| Self {
            count,
            queue: some(page.u16(field(8))),
            command: some(page.u16(field(10))),
            status: Status::from_bits(page.u16(field(12))),
            location: some(page.u16(field(14))),
            lba: page.u64(field(16)),
            namespace: page.u32(field(24)),
        })
    }
}

impl Health {
    pub(super) fn parse(page: &Page) -> Self {
        let number = |at| u128::from_le_bytes(page.bytes(at));
        Self {
            warnings: page.u8(0),
            temperature: page.u16(1),
            spare: page.u8(3),
            spare_threshold: page.u8(4),
            used: page.u8(5),
            data_read: number(32),
            data_written: number(48),
            power_cycles: number(112),
            power_on_hours: number(128),
            unsafe_shutdowns: number(144),
            media_errors: number(160),
            error_count: number(176),
        }
    }
}

impl Event {
    /// Parses the answer to the request for an event.
    pub(super) const fn parse(answer: u32) -> Self {
        let [kind, info, log_page, _] = answer.to_le_bytes();
        let kind = match kind & 7 {
            0 => EventKind::Error,
            1 => EventKind::Health,
            2 => EventKind::Notice,
            6 => EventKind::CommandSet,
            7 => EventKind::Vendor,
            other => EventKind::Reserved(other),
        };
        Self {
            kind,
            info,
            log_page,
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error => f.write_str("error"),
            Self::Health => f.write_str("health"),
            Self::Notice => f.write_str("notice"),
            Self::CommandSet => f.write_str("command set"),
            Self::Vendor => f.write_str("vendor"),
            Self::Reserved(kind) => write!(f, "kind {kind}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nvme::StatusCode;

    #[test]
    fn entries_that_are_not_there_are_told_from_others() {
        let mut page = Page::zeroed();
        page.0[64] = 3;
        page.0[72..80].copy_from_slice(&[2, 0, 9, 0, 0x00, 0x41, 0xff, 0xff]);
        page.0[80] = 0x55;
        page.0[88] = 1;
        assert_eq!(ErrorEntry::parse(&page, 0), None);
        let entry = ErrorEntry::parse(&page, 64).unwrap();
        assert_eq!((entry.queue, entry.command), (Some(2), Some(9)));
        let status = entry.status.unwrap();
        assert_eq!(status.code(), StatusCode::LBA_OUT_OF_RANGE);
        assert_eq!(
            (entry.location, entry.lba, entry.namespace),
            (None, 0x55, 1)
        );
        // Past the page.
        assert_eq!(ErrorEntry::parse(&page, 4096), None);
    }

    #[test]
    fn events_are_taken_apart() {
        let event = Event::parse(0x0002_0101);
        assert_eq!(event.kind, EventKind::Health);
        assert_eq!((event.info, event.log_page), (1, 2));
        assert_eq!(Event::parse(5).kind, EventKind::Reserved(5));
    }
}
