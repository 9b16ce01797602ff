//! The registers of a controller, in BAR 0 (NVM Express Base Specification 1.4, 3.1).
//!
//! Those of 64 bits are reached in halves, which the specification allows, so that an access is
//! one on every host.

use core::fmt;
use core::time::Duration;

use vfio_core::mmio::Width as _;
use vfio_core::mmio::field::{ReadPure, ReadPureWrite, WriteOnly};
use vfio_core::registers;

registers! {
    /// The registers before the doorbells.
    pub(super) struct Registers: 0x6c {
        /// Controller Capabilities (CAP), the low half.
        0x00 cap_low: ReadPure<u32>,
        /// The high half.
        0x04 cap_high: ReadPure<u32>,
        /// Version.
        0x08 vs: ReadPure<u32>,
        /// Controller Configuration: [`CC_EN`], [`CC_SHN_NORMAL`], [`CC_RUNNING`].
        0x14 cc: ReadPureWrite<u32>,
        /// Controller Status: [`CSTS_RDY`], [`CSTS_CFS`], [`CSTS_SHST`].
        0x1c csts: ReadPure<u32>,
        /// Admin Queue Attributes: entries of the admin queues, less one; the submission queue's in
        /// the low half.
        0x24 aqa: WriteOnly<u32>,
        /// Admin Submission Queue Base Address (ASQ), the low half.
        0x28 asq_low: WriteOnly<u32>,
        /// The high half.
        0x2c asq_high: WriteOnly<u32>,
        /// Admin Completion Queue Base Address (ACQ), the low half.
        0x30 acq_low: WriteOnly<u32>,
        /// The high half.
        0x34 acq_high: WriteOnly<u32>,
        /// Controller Ready Timeouts, where [`Capabilities::has_ready_times`].
        0x68 crto: ReadPure<u32>,
    }
}

registers! {
    /// A doorbell, in BAR 0 or in shadow memory.
    pub(super) struct Doorbell: 0x4 {
        /// A tail or a head.
        0x00 value: ReadPureWrite<u32>,
    }
}

/// Where the doorbells begin, in bytes.
pub(super) const DOORBELLS: usize = 0x1000;

/// In CC: the controller runs.
pub(super) const CC_EN: u32 = 1;
/// In CC: it is to prepare for power to go.
pub(super) const CC_SHN_NORMAL: u32 = 1 << 14;
/// CC while it runs: entries of 64 and of 16 bytes, the NVM command set, pages of
/// 4 KiB, round robin.
pub(super) const CC_RUNNING: u32 = 4 << 20 | 6 << 16 | CC_EN;
/// In CC: admin commands alone, in the place of the NVM command set.
pub(super) const CC_CSS_ADMIN: u32 = 7 << 4;

/// In CSTS: commands can be given.
pub(super) const CSTS_RDY: u32 = 1;
/// In CSTS: a fatal error.
pub(super) const CSTS_CFS: u32 = 1 << 1;
/// In CSTS: how far the shutdown is.
pub(super) const CSTS_SHST: u32 = 3 << 2;
/// In CSTS: the shutdown is complete.
pub(super) const CSTS_SHST_COMPLETE: u32 = 2 << 2;
/// What every register reads as where no device answers.
pub(super) const GONE: u32 = u32::MAX;

/// What a controller can do (CAP).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Capabilities(pub u64);

/// The version of the specification that a controller keeps to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Version(pub u32);

impl Capabilities {
    /// Returns how many entries a queue can have, from 1 to 65536 (CAP.MQES).
    #[must_use]
    pub fn most_entries(self) -> u32 {
        u32::from(u16::truncate(self.0)).saturating_add(1)
    }

    /// Returns how long the controller may take to stop, or to become ready (CAP.TO).
    ///
    /// Of becoming ready it can say more ([`Capabilities::has_ready_times`]).
    #[must_use]
    pub fn timeout(self) -> Duration {
        // CAP.TO may be 0: wait at least 500 ms.
        halves_of_seconds(u8::truncate(self.0 >> 24).max(1).into())
    }

    /// Tells whether CRTO says how long the controller may take to become ready.
    ///
    /// That is CAP.CRMS (NVM Express Base Specification 2.0, 3.1.3.1).
    #[must_use]
    pub const fn has_ready_times(self) -> bool {
        self.0 & 1 << 59 != 0
    }

    /// Returns how long the controller may take to become ready, with its media. CRTO reads as
    /// `crto`. That it names less than CAP.TO is an error of its own, which is forgiven.
    #[must_use]
    pub(super) fn ready_time(self, crto: u32) -> Duration {
        halves_of_seconds(u16::truncate(crto.into())).max(self.timeout())
    }

    /// Returns the base-2 logarithm of the bytes between doorbells (CAP.DSTRD).
    #[must_use]
    pub fn stride_shift(self) -> u8 {
        (u8::truncate(self.0 >> 32) & 0xf).saturating_add(2)
    }

    /// Tells whether the controller has the NVM command set (CAP.CSS).
    #[must_use]
    pub const fn has_nvm_commands(self) -> bool {
        self.0 & 1 << 37 != 0
    }

    /// Tells whether the controller has admin commands and no others (CAP.CSS).
    #[must_use]
    pub const fn has_admin_commands_alone(self) -> bool {
        self.0 & 1 << 44 != 0
    }

    /// Returns the base-2 logarithm of the smallest page's bytes (CAP.MPSMIN).
    #[must_use]
    pub fn smallest_page_shift(self) -> u8 {
        (u8::truncate(self.0 >> 48) & 0xf).saturating_add(12)
    }
}

/// Times in registers are in units of 500 ms.
fn halves_of_seconds(halves: u16) -> Duration {
    Duration::from_millis(u64::from(halves).wrapping_mul(500))
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [tertiary, minor, major, more] = self.0.to_le_bytes();
        let major = u16::from_le_bytes([major, more]);
        write!(f, "{major}.{minor}")?;
        if tertiary == 0 {
            Ok(())
        } else {
            write!(f, ".{tertiary}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::string::ToString;

    #[test]
    fn capabilities_are_read_from_their_bits() {
        // QEMU's: 2048 entries, 7.5 s, doorbells 4 bytes apart, the NVM command set, 4 KiB pages.
        let cap = Capabilities(0x0020_0020_0f01_07ff);
        assert_eq!(cap.most_entries(), 2048);
        assert_eq!(cap.timeout(), Duration::from_millis(7500));
        assert_eq!(cap.stride_shift(), 2);
        assert!(cap.has_nvm_commands());
        assert_eq!(cap.smallest_page_shift(), 12);
        let all = Capabilities(u64::MAX);
        assert_eq!(all.most_entries(), 65536);
        assert_eq!((all.stride_shift(), all.smallest_page_shift()), (17, 27));
    }

    #[test]
    fn the_time_to_become_ready_is_in_a_register_of_its_own() {
        let cap = Capabilities(0x0020_0020_0f01_07ff);
        assert!(!cap.has_ready_times());
        let cap = Capabilities(cap.0 | 1 << 59);
        assert!(cap.has_ready_times());
        // 5 minutes, with the time that takes no media to be ready in the upper half.
        assert_eq!(cap.ready_time(0x0001_0258), Duration::from_secs(300));
        assert_eq!(cap.ready_time(0), Duration::from_millis(7500));
    }

    #[test]
    fn versions_are_written_as_the_specification_does() {
        assert_eq!(Version(0x0001_0400).to_string(), "1.4");
        assert_eq!(Version(0x0001_0201).to_string(), "1.2.1");
        assert_eq!(Version(0x0002_0000).to_string(), "2.0");
    }
}
